"""Griffe extension of the API reference: docstrings as Markdown.

https://mkdocstrings.github.io/griffe/guide/users/extending/
"""

from __future__ import annotations

from typing import Any

import griffe

from dev.docs_site import without_roles


class DocstringExtension(griffe.Extension):
    """Extension that turns docstrings into Markdown before they are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = without_roles(obj.docstring.value)
