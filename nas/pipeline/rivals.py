"""Rivals: networks that one would have tried without a search, trained as the finalists are.

With a parent, the first is the parent itself where it is within the budgets, else the parent scaled to them by a width
multiplier; then, as without a parent, come the zoo's networks within the budgets by published top-1 accuracy, trained
from scratch. Where a rival is the best, the run says so first: "don't search" is an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from nas.architecture import Architecture
from nas.budget import Cost, format_quantity
from nas.costs import TABLE, cost
from nas.costs.profiling import layout
from nas.costs.zoo import best_within
from nas.formats import FROM_ZOO, chosen_by_words
from nas.pipeline.portfolio import Pick
from nas.sampling import BudgetSampler
from nas.spaces import catalog
from nas.trial import Trial, trial_seed


def choose_rivals(
    own: Mapping[str, Architecture], sampler: BudgetSampler, count: int, *, train_resolution: int
) -> dict[str, Architecture]:
    """Returns at most `count` rivals within the budgets, the method's own first, by a name for each.

    Args:
        own: Of the method, as `SearchMethod.rivals` returns them.
        train_resolution: The image side that they are trained at.
    """
    found, space = dict(islice(own.items(), count)), sampler.space

    def adapted(network: Architecture) -> Architecture:
        classes = space.head.get("num_classes")
        assert isinstance(classes, int), "the space is adapted to the data"
        return network.at_resolution(space.input.resolution).with_channels(space.input.channels).with_classes(classes)

    def within(network: Architecture) -> Cost | None:
        spent = sampler.cost_within(network)
        if spent is not None:
            cost(network.at_resolution(train_resolution))  # raises if it cannot be built for that
        return spent

    if len(found) < count:
        fresh = ((name, each) for name, each in best_within(within, adapted) if each not in found.values())
        found |= {f"{FROM_ZOO}{name}": each for name, each in islice(fresh, count - len(found))}
        TABLE.save()
    return found


def rival_picks(
    rivals: Mapping[str, Architecture], sampler: BudgetSampler, trials: Sequence[Trial], *, seed: int
) -> list[Pick]:
    """Returns the rivals as finalists: outside the search, without a score and with numbers after those of all trials.

    A rival that is one of the trials keeps its number and score.
    """
    known = {trial.architecture: trial for trial in trials}
    return [
        Pick(trial=known.get(each) or _outside(each, sampler, number, seed=seed), chosen_by=name)
        for number, (name, each) in enumerate(rivals.items(), start=len(trials))
    ]


def _outside(architecture: Architecture, sampler: BudgetSampler, number: int, *, seed: int) -> Trial:
    return Trial(
        number=number,
        architecture=architecture,
        cost=sampler.cost_within(architecture) or cost(architecture),
        status="failed",
        score=None,
        seed=trial_seed(seed, number),
        seconds=0.0,
        error="It is a rival, which is not scored.",
        layout=layout(architecture).replace("-", ""),
        origin="rival",
    )


def rival_lines(rivals: Mapping[str, Architecture], asked: int, sampler: BudgetSampler) -> list[str]:
    """Returns a line on each rival, and one where there are fewer than asked for."""
    lines: list[str] = []
    rank = "best"
    for name, architecture in rivals.items():
        spent = cost(architecture)
        figures = " and ".join(format_quantity(metric, getattr(spent, metric)) for metric in ("macs", "params"))
        said = ""
        if name.startswith(FROM_ZOO):
            top1 = catalog.read_architecture(name.removeprefix(FROM_ZOO))[1]["top1"]
            said = f" (of the zoo's networks within the budget, the {rank} by published top-1: {top1:.1f})"
            rank = "next best"
        words = chosen_by_words(name)
        lines.append(f"{words[0].upper()}{words[1:]}{said}, {figures}, trained beside the finalists (--rivals)")
    if len(rivals) < asked:
        further = "further " * bool(rivals)
        budget = " and ".join(map(str, sampler.budgets)) or "the budget"
        side = sampler.space.input.resolution
        # Where a budget is measured, larger ones than the space's are not.
        small = " as small as the space's networks" if sampler.measures else ""
        there = "is" if len(rivals) == 1 else "are"
        left = f"there {there} {len(rivals)} instead of {asked}" if rivals else "there is none"
        lines.append(f"Rivals: no {further}zoo network{small} fits {budget} at {side} pixels, so {left}")
    return lines
