"""What a folder of images holds that is not read, counted, with an example of each kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Reason: TypeAlias = Literal["hidden", "extension", "link", "outside", "beside", "unlabeled"]

_TEXTS: dict[Reason, tuple[str, str]] = {
    "hidden": ("hidden file or folder (named .* or __*)", "hidden files or folders (named .* or __*)"),
    "extension": ("file that is no image by its extension", "files that are no images by their extensions"),
    "link": ("linked folder", "linked folders"),
    "outside": ("image outside of the class folders", "images outside of the class folders"),
    "unlabeled": ("test image without a class folder", "test images without class folders"),
    "beside": ("image in a folder beside the splits", "images in folders beside the splits"),
}
_HEIF = frozenset({".heic", ".heif"})
_MOST = 5


@dataclass(slots=True)
class LeftOut:
    """Counts by reason, with the first example of each."""

    counts: Counter[Reason] = field(default_factory=Counter)
    examples: dict[Reason, str] = field(default_factory=dict)
    extensions: Counter[str] = field(default_factory=Counter)

    def add(self, reason: Reason, example: str, count: int = 1) -> None:
        self.counts[reason] += count
        self.examples.setdefault(reason, example)

    def add_file(self, extension: str, example: str) -> None:
        """A file whose extension ("" for none) is no image's."""
        self.add("extension", example)
        self.extensions[extension] += 1

    def merge(self, other: LeftOut) -> None:
        self.counts += other.counts
        self.extensions += other.extensions
        self.examples = {**other.examples, **self.examples}

    def described(self) -> tuple[str, ...]:
        """A line for each reason: "50 files that are no images by their extensions (50 .heic), such as cat/1.heic"."""
        lines: list[str] = []
        for reason, count in sorted(self.counts.items()):
            one, many = _TEXTS[reason]
            line = f"{count:,} {one if count == 1 else many}"
            if reason == "extension":
                kinds = [f"{number:,} {kind or 'without one'}" for kind, number in self.extensions.most_common(_MOST)]
                more = ", …" if len(self.extensions) > _MOST else ""
                line += f" ({', '.join(kinds)}{more})"
            line += f", such as {self.examples[reason]}"
            if reason == "extension" and not _HEIF.isdisjoint(self.extensions):
                line += "; HEIC needs an extra: pip install 'hybrid-nas[heif]'"
            lines.append(line)
        return tuple(lines)
