"""Greedy slimming: its actions, and its way down."""

from __future__ import annotations

import math
import random

import pytest

import nas
from nas.budget import Budget
from nas.sampling import BudgetSampler
from nas.searchers.searcher import make_searcher
from nas.searchers.slimming import _loss
from nas.spaces.slimming import slimmed
from nas.trial import Trial

SPACES = ("coatnet-small", "efficientformerv2", "levit", "nats-size", "mbconv")


@pytest.mark.parametrize("name", SPACES)
def test_every_action_makes_one_part_smaller(name: str) -> None:
    space, rng = nas.load_space(name), random.Random(0)
    for _ in range(5):
        parent = space.encode(space.sample(rng))
        children = slimmed(space, parent)
        assert children == slimmed(space, parent)
        assert len(set(children)) == len(children)
        for child in children:
            assert space.valid(child)
            changed = [(a, b) for a, b in zip(parent.stages, child.stages, strict=True) if a != b]
            if child.stem == parent.stem:
                assert len(changed) == 1 or space.stages[-1].width_multiplier
            before, after = (nas.cost(space.decode(each)) for each in (parent, child))
            assert after.params <= before.params
            assert after.macs <= before.macs


def test_of_steps_that_raise_the_score_the_better_in_both_is_taken() -> None:
    worse, better = _loss(0.80 - 0.81, 0.1), _loss(0.80 - 0.82, 0.5)
    assert better < worse < _loss(0.0, 0.1) < _loss(0.01, 0.5) < _loss(0.01, 0.1)


def test_the_smallest_member_has_no_smaller_one() -> None:
    space = nas.load_space("coatnet-small")
    current = space.encode(space.sample(random.Random(1)))
    while children := slimmed(space, current):
        current = children[0]
    widths = [stage.width for stage in current.stages]
    assert widths == [min(stage.widths) for stage in space.stages]
    assert [stage.depth for stage in current.stages] == [min(stage.depths) for stage in space.stages]


def test_it_takes_the_step_with_the_least_loss_per_gain_until_nothing_smaller_is_feasible() -> None:
    space = nas.load_space("nats-size")
    budget = Budget(metric="macs", bound=round(2.0 * BudgetSampler(space).extremes("macs")[0]))
    sampler = BudgetSampler(space, [budget])
    searcher = make_searcher("slimming", sampler, seed=0, objectives=("macs",))
    trials: list[Trial] = []

    def score(architecture: nas.Architecture) -> float:
        return sum((i + 2) * math.log(c.width) for i, c in enumerate(space.encode(architecture).stages))

    for batch in range(60):
        for proposal in searcher.ask(4, batch):
            trials.append(
                Trial(
                    number=len(trials),
                    architecture=proposal.architecture,
                    cost=proposal.cost,
                    status="complete",
                    score=score(proposal.architecture),
                    seed=0,
                    seconds=0.0,
                    layout=proposal.layout,
                    origin=proposal.origin,
                    batch=batch,
                )
            )
        searcher.tell([trial for trial in trials if trial.batch == batch])
    known = {trial.architecture: trial for trial in trials}
    (current,) = [trial for trial in trials if trial.origin == "largest"]
    length = 0
    while True:
        children = [space.decode(child) for child in slimmed(space, space.encode(current.architecture))]
        steps = [known[child] for child in children if child in known]
        # All that are feasible were scored: none that is smaller is left out.
        assert {t.architecture for t in steps} == {c for c in children if sampler.contains(nas.cost(c))}
        if not steps:
            break

        def loss_per_gain(step: Trial, current: Trial = current) -> float:
            gain = math.log(current.cost.macs / step.cost.macs) + 0.5 * math.log(current.cost.params / step.cost.params)
            return ((current.score or 0.0) - (step.score or 0.0)) / gain

        current, length = min(steps, key=loss_per_gain), length + 1
    assert length >= 8
    assert {trial.origin for trial in trials[1:8]} <= {"slimming", "random"}
