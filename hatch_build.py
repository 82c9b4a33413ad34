"""Metadata of the package that a package index shows: README with absolute links, and URLs of the project.

Both need the address of the repository, which the release workflow gives as ``PROJECT_URL``. Without it the README
stays as it is, for instance for an installation from a clone.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)(\[[^\]\[]*\])\((?![a-z]+:|#)([^)\s]+)\)")


class ProjectMetadata(MetadataHookInterface):
    """Hook that hatchling calls for the fields in ``dynamic``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the README and the URLs."""
        root = Path(self.root)
        text = (root / "README.md").read_text(encoding="utf-8")
        if url := os.environ.get("PROJECT_URL", "").rstrip("/"):
            version = re.search(
                r'__version__ = "(.+)"', (root / "airflow_provider_dingtalk/__init__.py").read_text(encoding="utf-8")
            )
            tag = f"v{version[1]}" if version else "HEAD"
            text = absolute(text, url, tag)
            metadata["urls"] = {
                "Source": url,
                "Documentation": f"{url}/blob/{tag}/README.md",
                "Changelog": f"{url}/blob/{tag}/CHANGELOG.md",
                "Issues": f"{url}/issues",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def absolute(text: str, url: str, tag: str) -> str:
    """Return a Markdown text whose relative links, and pictures, lead to the repository.

    :param url: Address of the repository.
    :param tag: Tag of the version.
    """
    return _LINK.sub(lambda link: f"{link[1]}{link[2]}({url}/{'raw' if link[1] else 'blob'}/{tag}/{link[3]})", text)
