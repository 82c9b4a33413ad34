"""State of one running task: its registry, XComs and sends."""
