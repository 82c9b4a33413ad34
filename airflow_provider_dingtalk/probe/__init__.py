"""Probe that records undocumented behaviour of DingTalk in a test group and chat."""
