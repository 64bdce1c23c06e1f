"""The contract of searchers, for every one of them, and what each promises beyond it; scores are made up."""

import json
import math
import os
import random
import subprocess
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nas
from nas.architecture import Architecture
from nas.budget import Budget
from nas.errors import OptionError
from nas.options import SEARCHERS, SearchOptions
from nas.options.searchers import SEARCHERS_ABOUT
from nas.sampling.budget_sampler import BudgetSampler
from nas.sampling.enumeration import members
from nas.searchers import bayesian, evolution
from nas.searchers.evolution import fitnesses, fitnesses_of_several
from nas.searchers.searcher import START, Proposal, Searcher, make_searcher
from nas.spaces import Genotype, SearchSpace
from nas.trial import Trial

SPACE = nas.load_space("coatnet-small")
SAMPLER = BudgetSampler(SPACE, [Budget.parse("5MFLOPs")], min_share=0.75)
BATCH, BATCHES = 8, 4
LEARNERS = ["evolution", "bo"]
"""Searchers that are to beat chance after few trials."""
BLIND = {name: {"slimming": "largest"}.get(name, "random") for name in SEARCHERS}
"""Origin of proposals before a searcher has learnt anything."""


def score(architecture: Architecture) -> float:
    """Wide and deep late stages pay, and so does attention in the last two stages only."""
    total = 0.0
    for i, choice in enumerate(SPACE.encode(architecture).stages):
        total += (i + 1) * (math.log(choice.width) + 0.5 * math.log(choice.depth)) / 10
        total += 0.2 if (choice.op == "A") == (i > 1) else -0.2
    return total


def trials_of(proposals: list[Proposal], batch: int, *, first: int = 0, fail: bool = False) -> list[Trial]:
    return [
        Trial(
            number=first + i,
            architecture=p.architecture,
            cost=p.cost,
            status="failed" if fail else "complete",
            score=None if fail else score(p.architecture),
            seed=0,
            seconds=0.0,
            error="RuntimeError: out of memory" if fail else None,
            layout=p.layout,
            origin=p.origin,
            batch=batch,
        )
        for i, p in enumerate(proposals)
    ]


def run(searcher: Searcher, *, batches: int = BATCHES, size: int = BATCH, fail: bool = False) -> list[Trial]:
    trials: list[Trial] = []
    for batch in range(batches):
        told = trials_of(searcher.ask(size, batch), batch, first=len(trials), fail=fail)
        searcher.tell(told)
        trials += told
    return trials


def digests() -> list[str]:
    """Of the proposals of every searcher, learnt ones among them."""
    runs = [run(make_searcher(name, SAMPLER, seed=5), batches=3) for name in SEARCHERS]
    return [trial.architecture.digest for trials in runs for trial in trials]


@pytest.fixture(scope="module", params=[*SEARCHERS])
def recorded(request: pytest.FixtureRequest) -> tuple[str, list[Trial]]:
    """A searcher's name and an uninterrupted search of it."""
    return request.param, run(make_searcher(request.param, SAMPLER, seed=3))


@pytest.fixture(scope="module")
def small_range() -> BudgetSampler:
    """A range of some dozens of members."""
    smallest = BudgetSampler(SPACE).extremes("macs")[0]
    return BudgetSampler(SPACE, [Budget(metric="macs", bound=round(smallest * 1.12))])


# -- every searcher ---------------------------------------------------------------------------------------------


def test_every_name_that_options_take_makes_a_searcher() -> None:
    for name in SEARCHERS:
        SearchOptions.of(space="small", searcher=name).validate()
        assert make_searcher(name, SAMPLER, seed=0).ask(1, 0)


def test_what_is_said_of_searchers_is_what_they_do() -> None:
    alone, both = (
        f"{share:.0%}".replace("%", " %") for share in (1 - evolution.TRADE_OFF_SHARE, evolution.TRADE_OFF_SHARE)
    )
    assert f"{alone} of parents and tournaments go by it alone, {both} by the front" in SEARCHERS_ABOUT["evolution"]
    assert bayesian.TRADE_OFF_SHARE == 0.5
    assert "half of the proposals are the best below a random cost" in SEARCHERS_ABOUT["bo"]


def test_an_unknown_searcher_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(OptionError, match="did you mean 'evolution'"):
        make_searcher("evolutoin", SAMPLER, seed=0)


def test_every_proposal_is_a_member_in_range_with_its_exact_cost_and_layout(recorded: tuple[str, list[Trial]]) -> None:
    for trial in recorded[1]:
        assert SPACE.contains(trial.architecture)
        assert 0.75 * 5e6 <= trial.cost.macs <= 5e6
        assert trial.cost == nas.cost(trial.architecture)
        assert trial.layout == SPACE.layout(SPACE.encode(trial.architecture))


def test_no_architecture_is_proposed_twice(recorded: tuple[str, list[Trial]]) -> None:
    assert len({trial.architecture.digest for trial in recorded[1]}) == BATCH * BATCHES


def test_later_batches_come_from_what_the_searcher_learnt(recorded: tuple[str, list[Trial]]) -> None:
    name, trials = recorded
    origins = {trial.origin for trial in trials if trial.batch * BATCH >= START}
    learnt = {
        "evolution": {"mutation", "crossover"},
        "bo": {"bo"},
        "random": {"random"},
        "slimming": {"slimming"},
    }
    assert learnt[name] <= origins
    first = {trial.origin for trial in trials if trial.batch * BATCH < START}
    assert first == {"random"} or (name == "slimming" and "largest" in first)


def test_the_same_seed_gives_the_same_proposals_in_another_process() -> None:
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); import test_searchers as t; print(json.dumps(t.digests()))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1234"}
    arguments = [sys.executable, "-c", code, os.path.dirname(__file__)]
    answer = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout) == digests()
    assert answer.stderr == ""


def test_another_seed_gives_other_proposals(recorded: tuple[str, list[Trial]]) -> None:
    name, trials = recorded
    other = make_searcher(name, SAMPLER, seed=4).ask(BATCH, 0)
    assert [p.architecture for p in other] != [trial.architecture for trial in trials[:BATCH]]


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_search_rebuilt_from_its_record_goes_on_as_if_uninterrupted(
    recorded: tuple[str, list[Trial]], done: int
) -> None:
    name, trials = recorded
    record = [json.loads(json.dumps(trial.to_dict())) for trial in trials[: done * BATCH]]
    rebuilt = make_searcher(name, SAMPLER, seed=3)
    rebuilt.tell(map(Trial.from_dict, record))
    following = trials_of(rebuilt.ask(BATCH, done), done, first=done * BATCH)
    assert following == trials[done * BATCH : (done + 1) * BATCH]


def test_a_batch_interrupted_half_way_is_proposed_again_as_it_was(recorded: tuple[str, list[Trial]]) -> None:
    name, trials = recorded
    rebuilt = make_searcher(name, SAMPLER, seed=3)
    rebuilt.tell(trials[: 3 * BATCH + 5])
    again = [p.architecture for p in rebuilt.ask(BATCH, 3)]
    assert again == [trial.architecture for trial in trials[3 * BATCH : 4 * BATCH]]
    assert [p.architecture for p in rebuilt.ask(5, 3)] == again[:5]


@pytest.mark.parametrize("name", [*SEARCHERS])
def test_what_others_tried_before_is_not_proposed(name: str, small_range: BudgetSampler) -> None:
    everything = [draw for layout in small_range.layouts for draw in members(small_range, layout)]
    told = [Proposal(architecture=d.architecture, origin="", cost=d.cost, layout=d.layout) for d in everything[:-6]]
    searcher = make_searcher(name, small_range, seed=0)
    searcher.tell(trials_of(told, 0))
    found = searcher.ask(10, 1)
    assert {p.architecture for p in found} == {draw.architecture for draw in everything[-6:]}


@pytest.mark.parametrize("name", [*SEARCHERS])
def test_fewer_come_back_only_when_the_range_is_exhausted(name: str, small_range: BudgetSampler) -> None:
    everything = [draw.architecture for layout in small_range.layouts for draw in members(small_range, layout)]
    searcher = make_searcher(name, small_range, seed=1)
    size = START + 2
    trials = run(searcher, batches=3, size=size)
    assert {trial.architecture for trial in trials} == set(everything)
    assert len(trials) == len(everything)
    assert searcher.ask(size, 3) == []


@pytest.mark.parametrize("name", [*SEARCHERS])
def test_presets_in_range_are_proposed_first_and_once(name: str) -> None:
    rng = random.Random(7)
    fitting = [SAMPLER.sample(rng).architecture for _ in range(3)]
    larger = BudgetSampler(SPACE, [Budget.parse("20MFLOPs")], min_share=0.9).sample(rng).architecture
    presets = [larger, nas.load_architecture("coatnet_0"), fitting[0].at_resolution(64), *fitting]
    searcher = make_searcher(name, SAMPLER, seed=0, presets=presets)
    first = searcher.ask(2, 0)
    assert [(p.architecture, p.origin) for p in first] == [(a, "preset") for a in fitting[:2]]
    searcher.tell(trials_of(first, 0))
    assert [p.origin for p in searcher.ask(3, 1)] == ["preset", BLIND[name], BLIND[name]]


@pytest.mark.parametrize("name", [*SEARCHERS])
def test_failed_trials_are_neither_learnt_from_nor_proposed_again(name: str) -> None:
    trials = run(make_searcher(name, SAMPLER, seed=0), batches=3, fail=True)
    assert {trial.origin for trial in trials} - {"slimming"} == {"random", BLIND[name]}
    assert len({trial.architecture for trial in trials}) == len(trials)


@pytest.mark.parametrize("name", [*SEARCHERS])
def test_two_budgets_hold_at_once(name: str) -> None:
    both = BudgetSampler(SPACE, [Budget.parse("6MFLOPs"), Budget.parse("60Kparams")])
    trials = run(make_searcher(name, both, seed=0), batches=3)
    assert all(trial.cost.macs <= 6e6 and trial.cost.params <= 60e3 for trial in trials)


def test_learning_beats_chance(recorded: tuple[str, list[Trial]]) -> None:
    name, trials = recorded
    rng = random.Random(0)
    chance = np.mean([score(SAMPLER.sample(rng).architecture) for _ in range(200)])
    learnt = np.mean([trial.score or 0.0 for trial in trials if trial.batch * BATCH >= START])
    assert learnt > chance + 0.15 or name not in LEARNERS


def test_evolution_finds_better_networks_than_chance() -> None:
    blind, learnt = (run(make_searcher(name, SAMPLER, seed=0), batches=20) for name in ("random", "evolution"))
    assert max(t.score or 0 for t in learnt) > max(t.score or 0 for t in blind)


@pytest.mark.parametrize("name", [*SEARCHERS])
def test_no_global_state_is_touched(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    before = random.getstate(), str(np.random.get_state())
    run(make_searcher(name, SAMPLER, seed=0), batches=3)
    assert (random.getstate(), str(np.random.get_state())) == before
    assert capfd.readouterr() == ("", "")


# -- without an aim, cost counts too ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEARNERS)
def test_without_an_aim_small_good_networks_are_found(name: str) -> None:
    free = BudgetSampler(SPACE, [Budget.parse("5MFLOPs")])
    blind, learnt = (run(make_searcher(n, free, seed=0), batches=5) for n in ("random", name))

    def front(trials: list[Trial]) -> float:
        best = [[t.score or 0.0 for t in trials if t.cost.macs <= share * 5e6] for share in (0.4, 0.6, 0.8, 1.0)]
        return sum(max(scores, default=0.0) for scores in best)

    assert front(learnt) > front(blind)


def _narrow() -> SearchSpace:
    """The space at depth 1 and at most 64 channels, of whose kernels only the smallest are left."""
    stages = [
        replace(
            stage,
            depths=(1,),
            widths=tuple(width for width in stage.widths if width <= 64),
            ops=tuple(
                replace(op, choices=tuple((n, v[:1] if n == "kernel_size" else v) for n, v in op.choices))
                for op in stage.ops
            ),
        )
        for stage in SPACE.stages
    ]
    stem = replace(SPACE.stem, choices=tuple((name, (8, 16)) for name, _ in SPACE.stem.choices))
    return replace(SPACE, stem=stem, stages=tuple(stages))


# -- listing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("min_share", [0.0, 0.8])
@pytest.mark.parametrize("budgets", [["2MFLOPs"], ["2MFLOPs", "40Kparams"]])
def test_listing_gives_every_member_in_range_once(budgets: list[str], min_share: float) -> None:
    narrow = _narrow()
    sampler = BudgetSampler(narrow, [Budget.parse(text) for text in budgets], min_share=min_share)
    listed = [draw.architecture for layout in sampler.layouts for draw in members(sampler, layout)]
    choices = [[c for op in stage.ops for c in stage.choices(op.letter)] for stage in narrow.stages]
    genotypes = (Genotype(stem, stages) for stem in narrow.stem.combinations for stages in product(*choices))
    expected = [g for g in genotypes if narrow.valid(g) and sampler.contains(sampler.costs.cost(g))]
    assert len(listed) == len(expected) > 10
    assert set(listed) == {narrow.decode(g) for g in expected}


def test_listing_a_vast_range_stops() -> None:
    assert 0 < len(list(members(SAMPLER, "CCCC", most_visits=2000))) < 2000


# -- parts ------------------------------------------------------------------------------------------------------


def test_evolution_begins_with_every_layout_alike() -> None:
    layouts = [p.layout for p in make_searcher("evolution", SAMPLER, seed=0).ask(15, 0)]
    assert {layout: layouts.count(layout) for layout in SAMPLER.layouts} == dict.fromkeys(SAMPLER.layouts, 3)


def test_fitness_of_a_front_worked_out_by_hand() -> None:
    # On the first front: (1, 1), (3, 2) and (4, 5); (2, 4) and (3, 3) are dominated by (3, 2), and (2, 4) by (3, 3).
    found = fitnesses([1, 3, 4, 2, 3], [1, 2, 5, 4, 3])
    assert [f.rank for f in found] == [0, 0, 0, 2, 1]
    assert [f.crowding for f in found[:3]] == [math.inf, 2.0, math.inf]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25))
def test_fronts_are_those_of_peeling_by_definition(points: list[tuple[int, int]]) -> None:
    def dominates(a: int, b: int) -> bool:
        (s, c), (t, d) = points[a], points[b]
        return s >= t and c <= d and (s, c) != (t, d)

    left, expected, rank = set(range(len(points))), {}, 0
    while left:
        front = {i for i in left if not any(dominates(j, i) for j in left)}
        expected |= dict.fromkeys(front, rank)
        left, rank = left - front, rank + 1
    found = fitnesses([float(s) for s, _ in points], [float(c) for _, c in points])
    assert [f.rank for f in found] == [expected[i] for i in range(len(points))]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=25))
def test_the_first_front_over_several_costs_is_what_no_other_beats(points: list[tuple[int, int, int]]) -> None:
    found = fitnesses_of_several(
        [float(s) for s, _, _ in points], [(float(a), float(b)) for _, a, b in points], enough=99
    )
    beaten = [any((t, c, d) != (s, a, b) and t >= s and c <= a and d <= b for t, c, d in points) for s, a, b in points]
    assert [each.rank > 0 for each in found] == [
        lost or any(points[other] == points[place] for other in range(place)) for place, lost in enumerate(beaten)
    ]


def test_fronts_beyond_what_is_needed_are_one() -> None:
    found = fitnesses_of_several([4.0, 3.0, 2.0, 1.0], [(1.0, 1.0)] * 4, enough=2)
    assert [each.rank for each in found] == [0, 1, 2, 2]
