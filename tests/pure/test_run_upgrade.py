"""Records of format 1 become records of this format."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from nas.file_formats import digest_of, digest_of_format_1
from nas.run import FORMAT, upgrade

OLD: list[dict[str, Any]] = [
    {
        "format": 1,
        "event": "run_started",
        "options": {"space": "s", "aim": 0.75, "seed": 0, "scorer": "supernet-loss", "epochs": 3, "strategy": None},
        "plan": {
            "trials": 4, "floor": 0.5, "epochs": 3, "strategy": "sandwich", "watch_every": 1,
            "recalibration_images": 512, "validation_images": 9, "blocks": {}, "calibration": {}, "teacher": {},
        },
        "trained": {"floor": 0.5, "seed": 0},
        "supernet": {"run": "a", "step": 4},
    },
    {"event": "borrowed", "run": "a", "step": 4},
    {"event": "dreamt", "floor": 1},
]  # fmt: skip


def test_an_event_gets_its_new_name_and_keeps_the_rest() -> None:
    before = copy.deepcopy(OLD)
    new = upgrade.upgrade(OLD)
    assert [event["event"] for event in new] == ["run_started", "supernet_reused", "dreamt"]
    assert new[0]["format"] == FORMAT == 2
    assert next(iter(new[0])) == "format"
    assert new[1:] == [{**OLD[1], "event": "supernet_reused"}, OLD[2]]
    assert before == OLD


def test_options_and_plan_of_a_supernet_are_those_of_its_method() -> None:
    first = upgrade.upgrade(OLD)[0]
    assert first["options"] == {
        "space": "s", "min_share": 0.75, "seed": 0, "method": "supernet",
        "method_options": {"epochs": 3, "scorer": "loss"},
    }  # fmt: skip
    assert first["plan"] == {
        "trials": 4,
        "method": {
            "epochs": 3, "strategy": "sandwich", "watch_every": 1, "recalibration_images": 512, "validation_images": 9,
            "train_min_share": 0.5, "shards": 1,
        },
    }  # fmt: skip
    assert first["method"] == {
        "coverage": {"train_min_share": 0.5, "seed": 0},
        "reused": {"source_run": "a", "step": 4},
    }
    assert not {"trained", "supernet"} & first.keys()


def test_a_sequential_search_by_blocks_stays_one() -> None:
    old = {
        "event": "run_started",
        "options": {"scorer": "blockwise", "strategy": "blockwise-sequential", "teacher": None},
        "plan": {"strategy": "blockwise-sequential", "epochs": 2, "blocks": {"paths": 4, "images": 50}},
    }
    first = upgrade.upgrade([old])[0]
    assert first["options"] == {"method": "blockwise", "method_options": {"strategy": "sequential"}}
    assert first["plan"]["method"]["strategy"] == "sequential"
    assert (first["plan"]["method"]["paths"], first["plan"]["method"]["hidden"]) == (4, 0)


def test_what_proxies_were_planned_to_take_is_a_part_of_the_search() -> None:
    plan = {"calibration": {"reference": 24}, "seconds": {"calibration": 2.0, "search": 3.0}}
    first = upgrade.upgrade([{"event": "run_started", "options": {"scorer": "nwot"}, "plan": plan}])[0]
    assert first["plan"] == {"seconds": {"search": 5.0}, "method": {"reference": 24}}


def network(format: int, **params: Any) -> dict[str, Any]:
    return {"format": format, "stem": {"op": "conv_stem", "width": 8}, "head": {"op": "classifier", **params}}


def test_architectures_are_of_format_2_and_every_event_names_them_by_their_new_digests() -> None:
    old, new = network(1, heads=2), network(2, num_heads=2)
    before, after = digest_of_format_1(old), digest_of(new)
    plain = [
        {"event": "run_started", "presets": [old]},
        {"event": "measured", "digest": "0123456789abcdef"},
        {"event": "measured", "digest": before},
        {"event": "calibrated", "digest": before, "architecture": old},
        {"event": "trial", "trial": {"digest": before, "number": 0, "architecture": old}},
        {"event": "winner", "digest": before, "rank": 1},
    ]
    assert upgrade.upgrade(plain)[0]["presets"] == [new]
    assert upgrade.upgrade(plain)[1:] == [
        {"event": "measured", "digest": "0123456789abcdef"},
        {"event": "measured", "digest": after},
        {"event": "calibrated", "digest": after, "architecture": new},
        {"event": "trial", "trial": {"digest": after, "number": 0, "architecture": new}},
        {"event": "winner", "digest": after, "rank": 1},
    ]


def test_a_space_whose_parameters_are_renamed_is_the_one_that_was_kept() -> None:
    old: dict[str, Any] = {"stem": {"block": {"op": "group_norm", "groups": "$groups"}, "choices": [["groups", [2]]]}}
    new: dict[str, Any] = {
        "stem": {"block": {"op": "group_norm", "num_groups": "$groups"}, "choices": [["groups", [2]]]}
    }
    kept = {"event": "run_started", "space_source": "levit", "space_digest": digest_of(old), "space": old}
    assert upgrade.upgrade([kept])[0] == {
        "event": "run_started", "format": 2, "space_source": None, "space_digest": digest_of(new), "space": new,
    }  # fmt: skip


@pytest.mark.parametrize("manifest", [{}, {"options": None}, {"options": {}, "plan": 5}])
def test_a_manifest_with_something_else_in_a_place_passes(manifest: dict[str, Any]) -> None:
    plain = {"event": "run_started", **manifest}
    assert upgrade.upgrade([plain]) == [{**plain, "format": 2}]
