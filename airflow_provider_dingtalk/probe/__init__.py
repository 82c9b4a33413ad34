"""Probe of undocumented behaviour of DingTalk, with a test group and person."""
