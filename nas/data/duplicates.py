"""Images that are in two splits: what was trained on then tests what was learnt."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from nas.data.dataset import Split

_PAIRS = (("test", "train"), ("search_validation", "train"), ("test", "search_validation"))


def describe_duplicates(splits: Mapping[str, Split]) -> str | None:
    """A line on the images that are in two splits, pixel for pixel at the size that they were read at; None if none."""
    contents = {name: _contents(split) for name, split in splits.items()}
    classes = {name: _classes_of(content) for name, content in contents.items()}
    found: list[str] = []
    for one, other in _PAIRS:
        same = [(digest, label) for digest, label in contents[one] if digest in classes[other]]
        if same:
            apart = sum(label not in classes[other][digest] for digest, label in same)
            others = f" ({apart:,} of them under another class)" if apart else ""
            found.append(f"{len(same):,} of {len(contents[one]):,} of {one} are in {other} too{others}")
    if not found:
        return None
    side = splits["train"].images.shape[-1]
    return (
        f"Identical images (at {side}x{side} pixels) are in several splits, which makes accuracies too high: "
        + "; ".join(found)
    )


def _contents(split: Split) -> list[tuple[bytes, int]]:
    """The digest of each image, with its label."""
    rows = split.images.permute(0, 2, 3, 1).numpy()  # as they lie in memory
    digests = (hashlib.blake2b(row, digest_size=16).digest() for row in rows)
    return list(zip(digests, split.labels.tolist(), strict=True))


def _classes_of(contents: Iterable[tuple[bytes, int]]) -> dict[bytes, set[int]]:
    found: dict[bytes, set[int]] = {}
    for digest, label in contents:
        found.setdefault(digest, set()).add(label)
    return found
