"""A budget on memory: what is sampled under it, by brute force; how it is refused; a search and its records."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

import nas
from nas.budget import Budget
from nas.costs import SpaceCosts, peak_memory
from nas.costs.memory_bounds import MemoryBounds
from nas.errors import BudgetError
from nas.run import read_run
from nas.sampling import BudgetSampler
from nas.sampling.enumeration import members
from nas.sampling.measured_bounds import least_beside_params, within
from nas.setting import Setting
from nas.spaces import SearchSpace

from ..layered_space import layered_space
from ..small_space import listed, small_space

SPACE = small_space()
MEMORY = {point: peak_memory(SPACE.decode(point)) for point in listed(SPACE)}
IN_INT8 = {point: peak_memory(SPACE.decode(point), "int8") for point in listed(SPACE)}
IN_ORDER = sorted(MEMORY.values())


def budget(share: float) -> Budget:
    """The budget that such a share of the small space's members fits."""
    return Budget(metric="memory_bytes", bound=IN_ORDER[int(share * len(IN_ORDER))])


@pytest.mark.parametrize("share", [0.002, 0.05, 0.5, 0.999])
@pytest.mark.parametrize("macs", [None, "40kFLOPs"])
def test_the_members_within_it_are_those_of_brute_force(share: float, macs: str | None) -> None:
    budgets = [budget(share), *([Budget.parse(macs)] if macs else [])]
    costs = SpaceCosts(SPACE)
    expected = {
        point
        for point, found in MEMORY.items()
        if found <= budgets[0].bound and all(b.allows(costs.cost(point)) for b in budgets[1:])
    }
    sampler = BudgetSampler(SPACE, budgets)
    every = {SPACE.encode(m.architecture) for layout in sampler.layouts for m in members(sampler, layout)}
    assert every == expected
    rng = random.Random(0)
    for _ in range(100):
        found = sampler.sample(rng)
        assert found.cost.value("memory_bytes") == MEMORY[SPACE.encode(found.architecture)] <= budgets[0].bound


def test_samples_are_uniform_among_them() -> None:
    sampler, rng = BudgetSampler(SPACE, [budget(0.01)]), random.Random(0)
    expected = [point for point, found in MEMORY.items() if found <= budget(0.01).bound]
    counts = Counter(SPACE.encode(sampler.sample(rng, by="architecture").architecture) for _ in range(4000))
    each = 4000 / len(expected)
    assert set(counts) == set(expected)
    statistic = sum((counts[point] - each) ** 2 / each for point in expected)
    degrees = len(expected) - 1
    assert statistic < degrees + 4 * (2 * degrees) ** 0.5


def test_few_samples_of_a_tight_budget_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    tight = budget(0.01)
    sampler, rng = BudgetSampler(SPACE, [tight]), random.Random(0)
    measured: list[int] = []
    monkeypatch.setattr(sampler, "measures", {"memory_bytes": lambda a: measured.append(1) or peak_memory(a)})
    for _ in range(100):
        sampler.sample(rng)
    # By rejection alone, one sample in a hundred would fit.
    assert len(measured) < 100 * 10


@pytest.mark.parametrize(
    "space", [SPACE, layered_space("free"), layered_space("opened")], ids=["small", "free", "opened"]
)
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_bounds_hold_for_every_decision(space: SearchSpace, dtype: str) -> None:
    costs = SpaceCosts(space)
    bounds = MemoryBounds(costs, Setting(dtype=dtype))
    most, largest, rng = bounds.most(), 0, random.Random(1)
    for _ in range(200):
        layout = rng.choice(space.layouts)
        graph = costs.graph(layout)
        picked, node = [], graph.nodes[0]
        while node != graph.nodes[-1]:
            option = rng.choice(graph.options[node])
            picked.append((node, option))
            node = option.node
        architecture = space.decode(space.genotype(option.choice for _, option in picked))
        found = peak_memory(architecture, dtype)
        params = sum(option.params for _, option in picked)
        assert max(bounds.least(*each) for each in picked) + bounds.per_param * params <= found <= most
        largest = max(largest, found)
    assert most < 1.5 * largest


def test_what_no_member_makes_is_left_out() -> None:
    costs = SpaceCosts(SPACE)
    bounds = MemoryBounds(costs, Setting())
    for layout in SPACE.layouts:
        graph = costs.graph(layout)
        found = within(graph, bounds, budget(0.05).bound)
        assert sum(map(len, found.options.values())) < sum(map(len, graph.options.values()))
        assert within(graph, bounds, 10**9).options == graph.options
        assert within(graph, bounds, 1).nodes == []
        if found.nodes:
            assert least_beside_params(found, bounds) >= least_beside_params(graph, bounds)


def test_a_dtype_of_its_own() -> None:
    bound = sorted(IN_INT8.values())[len(IN_INT8) // 10]
    sampler, rng = BudgetSampler(SPACE, [Budget.parse(f"{bound}B:dtype=int8")]), random.Random(0)
    for _ in range(50):
        found = sampler.sample(rng)
        assert found.cost.peak_memory_bytes == IN_INT8[SPACE.encode(found.architecture)] <= bound
    architecture = nas.sample(SPACE, rng, [Budget.parse(f"{bound}B:dtype=int8")])
    assert peak_memory(architecture, "int8") <= bound


def test_a_refusal_proves_by_weights_alone_or_says_what_was_seen() -> None:
    params = min(SpaceCosts(SPACE).cost(point).params for point in MEMORY)
    with pytest.raises(BudgetError, match=r"fits 1KB: the smallest has .* params, which are .* of weights alone"):
        BudgetSampler(SPACE, [Budget.parse("1KB")])
    smallest = IN_ORDER[0]
    assert 4 * params < smallest - 1
    for bound in (4 * params, smallest - 1):
        with pytest.raises(
            BudgetError, match=r"was found in [0-9,]+ tries: the smallest seen needs [0-9.]+ KB\. Raise"
        ):
            BudgetSampler(SPACE, [Budget(metric="memory_bytes", bound=bound)])
    assert BudgetSampler(SPACE, [Budget(metric="memory_bytes", bound=smallest)]).layouts


def test_a_bound_above_every_member_still_asks_for_a_share_of_what_there_is() -> None:
    sampler, rng = BudgetSampler(SPACE, [Budget.parse("200MB")], min_share=0.6), random.Random(0)
    used = [sampler.sample(rng).cost.peak_memory_bytes or 0 for _ in range(30)]
    assert min(used) >= 0.6 * IN_ORDER[-1]


@pytest.mark.parametrize("share", [0.003, 0.05, 0.5])
def test_a_dry_run_estimates_what_fits(share: float) -> None:
    found = nas.dry_run(SPACE, [budget(share)])
    fits = sum(value <= budget(share).bound for value in MEMORY.values()) / len(MEMORY)
    assert not found.exact
    assert found.fits == pytest.approx(fits, rel=0.35)


@pytest.mark.usefixtures("own_threads")
def test_a_search_is_held_to_it_records_it_and_the_card_says_it(tmp_path: Path) -> None:
    options = nas.SearchOptions.of(
        space="small",
        method="params",
        trials=12,
        finalists=1,
        finalist_epochs=1,
        rivals=0,
        threads=1,
        batch_size=128,
        train_resolution=8,
        onnx=False,
        out=str(tmp_path / "run"),
    )
    found = nas.search(SPACE, budgets=[budget(0.3)], data="digits", options=options)
    assert found.winners
    trials = read_run(tmp_path / "run").trials()
    for trial in trials:
        # The search counts for its own data's classes.
        assert trial.cost.peak_memory_bytes == peak_memory(trial.architecture) <= budget(0.3).bound
    assert len(trials) == 12
    (card,) = (tmp_path / "run").glob("winners/1/card.md")
    assert f"under a budget of {budget(0.3)}" in card.read_text()
    assert "| Peak memory of an inference |" in card.read_text()
    assert "peak_memory_bytes" in json.dumps(trials[0].to_dict())
