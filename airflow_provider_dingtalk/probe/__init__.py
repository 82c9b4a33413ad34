"""Find out what DingTalk does and no page says, by doing it to a test group and a test person."""
