"""Texts that Airflow would render as templates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def is_plain(text: str, jinja_env: Environment, extensions: Sequence[str]) -> bool:
    """Return True if Jinja would return the text unchanged.

    :param extensions: Suffixes of texts that name a template's file.
    """
    from jinja2.nativetypes import NativeEnvironment

    # Jinja changes line ends, a native environment changes types, and a file name is a template by its suffix.
    starts = (jinja_env.block_start_string, jinja_env.variable_start_string, jinja_env.comment_start_string)
    prefixes = (jinja_env.line_statement_prefix, jinja_env.line_comment_prefix)
    if any(mark and mark in text for mark in ("\n", "\r", *starts, *prefixes)):
        return False
    if isinstance(jinja_env, NativeEnvironment):
        return False
    return jinja_env.preprocess(text) == text and not text.endswith(tuple(extensions))
