import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.architecture import Architecture, BlockConfig, BranchConfig, InputConfig, LayerConfig, StageConfig
from nas.budget import Cost
from nas.errors import RunError
from nas.trial import Trial, pareto_front


def architecture(width: int = 8) -> Architecture:
    block = BlockConfig(op="mbconv", params=(("width", width), ("kernel_size", 3)))
    return Architecture(
        input=InputConfig(channels=1, resolution=28),
        stem=BlockConfig(op="conv_stem", params=(("width", width),)),
        stages=(StageConfig(layers=(LayerConfig(branches=(BranchConfig(mixer=block),)),) * 2),),
        head=BlockConfig(op="linear_head", params=(("num_classes", 10),)),
    )


def trial(number: int = 0, score: float | None = 0.5, macs: int = 100, **changes: Any) -> Trial:
    made = Trial(
        number=number,
        architecture=architecture(),
        cost=Cost(macs=macs, params=10),
        status="failed" if score is None else "complete",
        score=score,
        seed=7,
        seconds=0.25,
    )
    return replace(made, **changes)


@pytest.mark.parametrize(
    "one",
    [
        trial(layout="CCAA", origin="mutation", batch=3),
        trial(score=None, error="RuntimeError: out of memory"),
        trial(cost=Cost(macs=5, params=6, latency_s=0.01, peak_memory_bytes=99, setting="cpu, 1 thread")),
    ],
)
def test_a_trial_survives_json(one: Trial) -> None:
    text = json.dumps(one.to_dict(), allow_nan=False)
    back = Trial.from_dict(json.loads(text))
    assert back == one
    assert json.dumps(back.to_dict()) == text


def test_the_dictionary_names_the_digest_for_readers() -> None:
    assert trial().to_dict()["digest"] == architecture().digest


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, None])
def test_a_complete_trial_needs_a_finite_score(score: float | None) -> None:
    with pytest.raises(RunError, match=r"Trial 4: a complete trial needs a finite score.*Record it as failed"):
        trial(number=4, status="complete", score=score)


def test_a_failed_trial_has_no_score() -> None:
    with pytest.raises(RunError, match="a failed trial has no score"):
        trial(status="failed", score=0.5)


def test_an_unknown_status_is_refused() -> None:
    with pytest.raises(RunError, match="complete or failed, not 'pruned'"):
        trial(status="pruned")


def test_whole_numbers_are_written_alike_however_they_were_given() -> None:
    assert json.dumps(trial(score=1, seconds=2).to_dict()) == json.dumps(trial(score=1.0, seconds=2.0).to_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cost": None}, "Trial 0 cannot be read"),
        ({"surprise": 1}, "Trial 0 cannot be read"),
        ({"architecture": {"format": 2}}, "Trial 0 cannot be read: architecture lacks"),
        ({"number": "zero"}, "cannot be read"),
        ({"score": "good"}, "cannot be read"),
    ],
)
def test_a_trial_that_is_not_well_formed_is_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message) as caught:
        Trial.from_dict({**trial().to_dict(), **change})
    assert "\n" not in str(caught.value)


def test_a_missing_part_is_named() -> None:
    data = trial().to_dict()
    del data["seed"], data["cost"]
    with pytest.raises(RunError, match="lacks 'cost'"):
        Trial.from_dict(data)
    with pytest.raises(RunError, match="must be a mapping, not list"):
        Trial.from_dict([])


def test_the_front_keeps_what_no_other_beats() -> None:
    trials = [
        trial(0, 0.5, 100),
        trial(1, 0.4, 100),  # as dear as 0, worse
        trial(2, 0.5, 120),  # as good as 0, dearer
        trial(3, 0.9, 300),
        trial(4, 0.7, 200),
        trial(5, None, 1),  # failed
        trial(6, 0.9, 300),  # equal to 3, later
        trial(7, 0.1, 50),
    ]
    assert [one.number for one in pareto_front(trials)] == [7, 0, 4, 3]


def test_the_front_can_be_drawn_for_another_cost() -> None:
    trials = [
        trial(0, 0.5, cost=Cost(macs=1, params=30)),
        trial(1, 0.4, cost=Cost(macs=2, params=20)),
        trial(2, 0.6, cost=Cost(macs=3, params=30, latency_s=0.1)),
    ]
    assert [one.number for one in pareto_front(trials, objectives=["params"])] == [1, 2]
    assert [one.number for one in pareto_front(trials, objectives=["latency_s"])] == [2]
    assert pareto_front([]) == []


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=30))
def test_every_trial_is_on_the_front_or_beaten_by_one_that_is(pairs: list[tuple[int, int]]) -> None:
    trials = [trial(number, score / 10, macs) for number, (score, macs) in enumerate(pairs)]
    front = pareto_front(trials)
    assert [one.cost.macs for one in front] == sorted({one.cost.macs for one in front})
    for one in trials:
        assert one.score is not None
        by = [f for f in front if f.cost.macs <= one.cost.macs and (f.score or 0) >= one.score]
        assert by, "a trial that nothing on the front matches should be on it"


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(1, 4)), max_size=30))
def test_a_front_over_two_costs_keeps_what_no_other_beats(found: list[tuple[int, int, int]]) -> None:
    trials = [
        trial(number, score / 10, cost=Cost(macs=macs, params=params))
        for number, (score, macs, params) in enumerate(found)
    ]

    def beaten(place: int) -> bool:
        score, macs, params = found[place]
        return any(
            s >= score and m <= macs and p <= params and ((s, m, p) != found[place] or other < place)
            for other, (s, m, p) in enumerate(found)
        )

    front = pareto_front(trials, objectives=["macs", "params"])
    assert sorted(one.number for one in front) == [place for place in range(len(found)) if not beaten(place)]
    assert [one.cost.macs for one in front] == sorted(one.cost.macs for one in front)
