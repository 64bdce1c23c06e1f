"""Every searcher on spaces with a choice per layer; scores are made up."""

from __future__ import annotations

import pytest

import nas
from nas.architecture import Architecture
from nas.budget import Budget
from nas.options import SEARCHERS
from nas.sampling.budget_sampler import BudgetSampler
from nas.sampling.enumeration import members
from nas.searchers.searcher import START, make_searcher
from nas.spaces import MANY, SearchSpace
from nas.trial import Trial

from ..layered_space import NAMES as SPACE_NAMES
from ..layered_space import layered_space

SPACES = {name: layered_space(name) for name in SPACE_NAMES}
BATCH, BATCHES = 6, 5


def sampler_of(name: str) -> BudgetSampler:
    low, high = BudgetSampler(SPACES[name]).extremes("macs")
    return BudgetSampler(SPACES[name], [Budget(metric="macs", bound=low + (high - low) * 3 // 4)], min_share=0.4)


SAMPLERS = {name: sampler_of(name) for name in SPACE_NAMES}


def score(space: SearchSpace, architecture: Architecture) -> float:
    """Attention late in the network pays, and so does width."""
    letters = space.layout(space.encode(architecture)).replace("-", "")
    late = sum((i + 1) * (letter == "A") for i, letter in enumerate(letters)) / len(letters)
    return late + space.encode(architecture).stages[-1].width / 100


def run(searcher: str, name: str, *, seed: int = 0) -> list[Trial]:
    space, found = SPACES[name], make_searcher(searcher, SAMPLERS[name], seed=seed)
    trials: list[Trial] = []
    for batch in range(BATCHES):
        told = [
            Trial(
                number=len(trials) + i,
                architecture=p.architecture,
                cost=p.cost,
                status="complete",
                score=score(space, p.architecture),
                seed=0,
                seconds=0.0,
                layout=p.layout,
                origin=p.origin,
                batch=batch,
            )
            for i, p in enumerate(found.ask(BATCH, batch))
        ]
        found.tell(told)
        trials += told
    return trials


@pytest.mark.parametrize("name", SPACE_NAMES)
@pytest.mark.parametrize("searcher", [*SEARCHERS])
def test_proposals_are_new_members_in_range_and_the_same_for_the_same_seed(searcher: str, name: str) -> None:
    space, sampler = SPACES[name], SAMPLERS[name]
    trials = run(searcher, name)
    assert len({trial.architecture for trial in trials}) == len(trials)
    assert len(trials) == min(BATCH * BATCHES, len(list(members(sampler, MANY))))
    for trial in trials:
        assert sampler.contains(trial.cost)
        assert trial.cost == nas.cost(trial.architecture)
        assert trial.layout == space.layout(space.encode(trial.architecture))
    assert [trial.architecture for trial in run(searcher, name)] == [trial.architecture for trial in trials]


@pytest.mark.parametrize("name", ["free", "ordered", "gaps", "transitions"])
@pytest.mark.parametrize(
    ("searcher", "origins"),
    [("evolution", {"mutation", "crossover"}), ("bo", {"bo"})],
)
def test_later_proposals_come_from_what_was_learnt(searcher: str, origins: set[str], name: str) -> None:
    assert origins & {trial.origin for trial in run(searcher, name) if trial.batch * BATCH >= START}


def test_evolution_keeps_the_number_of_layers_of_a_fabric() -> None:
    trials = run("evolution", "fabric")
    assert {"mutation", "crossover"} & {trial.origin for trial in trials}
    assert {sum(len(stage.layers) for stage in trial.architecture.stages) for trial in trials} == {3}
