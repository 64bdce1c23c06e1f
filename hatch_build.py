"""The project's description on a package index: the README, which there has no files beside it to link to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PICTURE = re.compile(r"^!\[[^]]*\]\([^)]*\)\n\n\*.*?\*\n\n", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^]]+)\]\((?!https?://)([^)#]+)[^)]*\)")
_CHECKOUT = re.compile(r"(?<=pip install )('?)\.(?=\[|$)", re.MULTILINE)


class IndexReadme(MetadataHookInterface):
    """Sets `readme`, which is dynamic for that. An address of the project would make these links absolute instead."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Sets the description."""
        readme = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": on_an_index(readme)}


def on_an_index(readme: str) -> str:
    """Returns the README without its picture, files named in place of links, and the package in place of a checkout."""
    return _CHECKOUT.sub(r"\1hybrid-nas", _LINK.sub(_named, _PICTURE.sub("", readme)))


def _named(link: re.Match[str]) -> str:
    """The words of a link and the file in the source that it leads to, in parentheses if there are none yet."""
    words, target = link.groups()
    if target.startswith(words):
        return f"`{target}`"
    return f"{words}: `{target}`" if link.string[: link.start()].endswith("(") else f"{words} (`{target}`)"
