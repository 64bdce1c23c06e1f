"""Architectures and space files of format 1 become those of format 2."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from nas.architecture import Architecture
from nas.errors import ArchitectureError
from nas.file_formats import digest_of_format_1, rename_parameters, upgrade
from nas.strict_yaml import read_yaml

RUN = Path(__file__).resolve().parents[1] / "fixtures" / "runs-0.1" / "calibrated"
ATTENTION = {
    "op": "attention",
    "heads": 2,
    "scope": "window",
    "window": 7,
    "queries": "all",
    "talking": True,
    "pool": "max",
}
OLD: dict[str, Any] = {
    "format": 1,
    "about": {"op": "attention", "heads": 2},
    "stem": {"op": "serial", "ops": [{"op": "pool", "ceil": True}, {"op": "group_norm", "groups": 2}]},
    "stages": [
        {
            "transition": {"op": "conv", "groups": 2},
            "layers": [{"branches": [{"mixer": {"op": "residual", "mixer": ATTENTION}}]}],
        }
    ],
    "head": {"op": "classifier", "num_classes": 10, "heads": 2},
}


def test_parameters_are_renamed_in_every_block_and_nowhere_else() -> None:
    before = copy.deepcopy(OLD)
    new = upgrade(OLD)
    assert before == OLD
    assert new["format"] == 2
    assert new["about"] == OLD["about"]
    assert new["stem"]["ops"] == [{"op": "pool", "ceil_mode": True}, {"op": "group_norm", "num_groups": 2}]
    assert new["stages"][0]["transition"] == {"op": "conv", "groups": 2}
    assert new["stages"][0]["layers"][0]["branches"][0]["mixer"]["mixer"] == {
        "op": "attention",
        "num_heads": 2,
        "attention_scope": "window",
        "window_size": 7,
        "query_source": "all",
        "talking_heads": True,
        "pool": "max",
    }
    assert new["head"] == {"op": "classifier", "num_classes": 10, "num_heads": 2}


def test_an_architecture_of_format_1_is_read_as_the_same_of_format_2() -> None:
    assert Architecture.from_dict(OLD) == Architecture.from_dict(upgrade(OLD))


def test_a_block_with_both_names_keeps_both_to_be_refused() -> None:
    assert rename_parameters({"op": "cross_streams", "heads": 2, "num_heads": 4}) == {
        "op": "cross_streams",
        "heads": 2,
        "num_heads": 4,
    }


def test_choices_keep_the_names_that_their_author_gave_them() -> None:
    template = {
        "choices": {"heads": [2, 4]},
        "rest": [{"mixer": {"op": "attention", "heads": "$heads"}}],
    }
    assert rename_parameters(template) == {
        "choices": {"heads": [2, 4]},
        "rest": [{"mixer": {"op": "attention", "num_heads": "$heads"}}],
    }


def test_digests_of_format_1_are_those_that_version_0_1_recorded() -> None:
    events = [json.loads(line) for line in (RUN / "events.jsonl").read_text().splitlines()]
    holders = [event.get("trial", event) for event in events]
    named = [holder for holder in holders if "architecture" in holder]
    assert len(named) > 20
    assert all(digest_of_format_1(holder["architecture"]) == holder["digest"] for holder in named)
    [winner] = [event for event in events if event["event"] == "winner"]
    assert digest_of_format_1(read_yaml(RUN / "winners" / "1" / "architecture.yaml")) == winner["digest"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (3, "architecture has format 3; this version reads up to format 2. Upgrade hybrid-nas to read it."),
        (0, "architecture has format 0; this version reads up to format 2. Set 'format: 2'."),
        (True, "architecture must start with 'format: 2', not format True."),
    ],
)
def test_another_format_is_refused(given: object, words: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        Architecture.from_dict({**OLD, "format": given})
    assert str(caught.value) == words
