"""Names that people give to splits: "Train", "training_set", "val2017", "dev", "testing"."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, TypeAlias, get_args

from nas.errors import DataError

Role: TypeAlias = Literal["train", "search_validation", "test"]
ROLES: tuple[Role, ...] = get_args(Role)
NAMES: dict[Role, str] = {"train": "training", "search_validation": "validation", "test": "test"}
"""What a split is called in messages."""

_WORDS: dict[str, Role] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "validate"), "search_validation"),
    **dict.fromkeys(("dev", "devel", "development", "eval", "evaluation"), "search_validation"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
_FILLERS = frozenset({"set", "split", "data", "dataset", "images", "image", "imgs", "img", "folder", "samples"})
_OTHERS = frozenset({"fold", "folds", "holdout", "heldout", "unlabeled", "unlabelled", "extra", "split", "subset"})


def role_of(name: str) -> Role | None:
    """The split that a name says, in any case, with numbers and words such as "set" around it; None for others."""
    words = [word for word in _words(name) if word not in _FILLERS]
    return _WORDS.get(words[0]) if len(words) == 1 else None


def mentions_split(name: str) -> bool:
    """Whether a name speaks of a split ("seg_train", "trainval", "fold3"), known or not."""
    return any(
        word in _WORDS or word in _OTHERS or word.startswith(("train", "test", "valid")) for word in _words(name)
    )


def by_role(names: Iterable[str], *, what: str) -> dict[Role, str]:
    """The names that say a split, by the split; others are left out.

    Args:
        what: Whose names they are, for messages.

    Raises:
        DataError: If two say the same split.
    """
    found: dict[Role, str] = {}
    for name in names:
        role = role_of(name)
        if role is None:
            continue
        if role in found:
            raise DataError(f"{what} has both {found[role]} and {name}: keep one for the {NAMES[role]} images.")
        found[role] = name
    return found


def _words(name: str) -> list[str]:
    found = re.findall(r"[^\W\d_]+", name.casefold())
    # "trainset" is one word, and says no more than "train".
    return [next((word[: -len(end)] for end in _FILLERS if word.endswith(end) and word != end), word) for word in found]
