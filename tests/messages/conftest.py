"""Fixtures of the jobs, for messages too."""

from __future__ import annotations

from tests.jobs.conftest import dingtalk, real_dingtalk

__all__ = ["dingtalk", "real_dingtalk"]
