"""Templates: names stand for choices, and for products of them that are whole."""

from __future__ import annotations

import pytest

from nas.errors import SpaceError
from nas.spaces.templates import fill, names_in


def test_names_stand_for_choices_and_their_parts() -> None:
    inner = ["$width*2", {"num_heads": "$width/32"}]
    template = {"width": "$width", "inner": inner, "third": "$width*2/3", "name": "gelu"}
    assert fill(template, {"width": 96}) == {"width": 96, "inner": [192, {"num_heads": 3}], "third": 64, "name": "gelu"}
    assert set(names_in(template)) == {"width"}


def test_a_name_alone_may_stand_for_anything() -> None:
    assert fill(["$a", "$b"], {"a": "relu", "b": 2.5}) == ["relu", 2.5]


@pytest.mark.parametrize(
    ("term", "values", "words"),
    [
        ("$width/32", {"width": 48}, r"\$width/32 is 1.5 where \$width = 48; it must be a whole number"),
        ("$ratio*3", {"ratio": 2.5}, r"is 7.5 where \$ratio = 2.5"),
        ("$flag*2", {"flag": True}, r"\$flag is 'True', and only numbers can be multiplied"),
        ("$depth*2", {"width": 48}, r"\$depth stands for no choice. Known: \$width"),
        ("$width/0", {"width": 48}, "is no product"),
        ("$width*x", {"width": 48}, "is no product"),
    ],
)
def test_what_is_no_whole_part_is_refused_in_one_line(term: str, values: dict[str, object], words: str) -> None:
    with pytest.raises(SpaceError, match=words) as caught:
        fill({"a": term}, values)
    assert "\n" not in str(caught.value)
