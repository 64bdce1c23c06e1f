"""Records of format 1 become records of this format."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from nas.run import FORMAT, upgrade

OLD: list[dict[str, Any]] = [
    {
        "format": 1,
        "event": "run_started",
        "options": {"aim": 0.75, "seed": 0},
        "plan": {"floor": 0.5},
        "trained": {"floor": 0.5, "seed": 0},
        "supernet": {"run": "a"},
    },
    {"event": "borrowed", "run": "a", "step": 4},
    {"event": "dreamt", "floor": 1},
]


def test_an_event_gets_its_new_name_and_keeps_the_rest() -> None:
    before = copy.deepcopy(OLD)
    new = upgrade.upgrade(OLD)
    assert [event["event"] for event in new] == ["run_started", "supernet_reused", "dreamt"]
    assert new[0]["format"] == FORMAT == 2
    assert next(iter(new[0])) == "format"
    assert new[1:] == [{**OLD[1], "event": "supernet_reused"}, OLD[2]]
    assert before == OLD


def test_what_is_renamed_in_a_manifest_is_renamed_at_its_place_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = {
        ("options",): {"aim": "min_share"},
        ("plan",): {"floor": "train_min_share"},
        ("trained",): {"floor": "train_min_share"},
        (): {"trained": "coverage", "supernet": "reused_supernet"},
    }
    monkeypatch.setattr(upgrade, "_RENAMED", renamed)
    first = upgrade.upgrade(OLD)[0]
    assert first == {
        "format": 2,
        "event": "run_started",
        "options": {"min_share": 0.75, "seed": 0},
        "plan": {"train_min_share": 0.5},
        "coverage": {"train_min_share": 0.5, "seed": 0},
        "reused_supernet": {"run": "a"},
    }


def test_a_manifest_without_a_place_or_with_something_else_there_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "_RENAMED", {("options", "inner"): {"aim": "min_share"}})
    for manifest in ({}, {"options": None}, {"options": {"inner": 5}}):
        plain = {"event": "run_started", **manifest}
        assert upgrade.upgrade([plain]) == [{**plain, "format": 2}]
