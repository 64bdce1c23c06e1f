"""What a supernet was trained on, and searching with the supernet of another run."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from nas.budget import Budget, Cost
from nas.data import DataInfo
from nas.errors import BudgetError, OptionError, RunError
from nas.methods.protocol.manifest import describe_classes
from nas.methods.protocol.plan import Plan
from nas.options import BLOCKWISE, UNTRAINED, SearchOptions
from nas.run import RunRecord, read_run
from nas.run.events import PhaseFinished
from nas.run.schema import check_fields
from nas.sampling.budget_sampler import BudgetSampler
from nas.spaces import SearchSpace
from nas.training.checkpoint import newest, read_facts

# The metrics that budgets of a search can be on so far.
_COUNTED = frozenset({"macs", "params"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The members that a supernet was trained on: within every bound of `high`, and at or above one of `low`.

    Attributes:
        budgets: What the supernet's run was asked for; which weights there are follows from it.
        floor: The least share of a budget that its members use.
        layouts: Theirs.
        seed: What the data was divided by: another division would score on images that the supernet has learnt.
        epochs, strategy: How it was trained.
    """

    budgets: tuple[str, ...]
    floor: float
    low: dict[str, int]
    high: dict[str, int]
    layouts: tuple[str, ...]
    resolution: int
    train_resolution: int
    seed: int
    epochs: int
    strategy: str

    @classmethod
    def of(cls, sampler: BudgetSampler, plan: Plan, *, seed: int) -> Trained:
        """What training on all that a sampler draws makes."""
        high = dict(zip(sampler.metrics, sampler.bounds, strict=True))
        return cls(
            budgets=tuple(map(str, sampler.budgets)),
            floor=sampler.aim,
            low={metric: math.ceil(sampler.aim * bound) for metric, bound in high.items()},
            high=high,
            layouts=sampler.layouts,
            resolution=plan.resolution,
            train_resolution=plan.train_resolution,
            seed=seed,
            epochs=plan.epochs,
            strategy=plan.strategy,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], where: Path) -> Trained:
        """Reads what `to_dict` gave.

        Raises:
            RunError: If it is not that.
        """
        names = {field.name for field in fields(cls)}
        if set(plain) != names:
            raise RunError(
                f"{where} was made by a version that did not record what its supernet was trained on. Search anew."
            )
        check_fields(cls, plain, where)
        for ends in (plain["low"], plain["high"]):
            if set(ends) != set(plain["high"]) or not set(ends) <= _COUNTED:
                raise RunError(
                    f"{where} is damaged: its supernet's range is in {str(list(ends))[:60]}. Restore it from a copy."
                )
        return cls(**{**plain, "budgets": tuple(plain["budgets"]), "layouts": tuple(plain["layouts"])})

    def sampler(self, space: SearchSpace) -> BudgetSampler:
        """Draws the members that it was trained on."""
        return BudgetSampler(space, [Budget.parse(text) for text in self.budgets], aim=self.floor)

    def covers(self, cost: Cost) -> bool:
        """Whether a network of a layout that was trained is within the range."""
        values = {metric: getattr(cost, metric) for metric in self.high}
        return all(values[m] <= high for m, high in self.high.items()) and any(
            values[m] >= low for m, low in self.low.items()
        )

    def __str__(self) -> str:
        lows, highs = ([str(Budget(metric=m, bound=b)) for m, b in ends.items()] for ends in (self.low, self.high))
        if len(lows) == 1:
            return f"{lows[0]} to {highs[0]}"
        return f"at most {' and '.join(highs)}, and at least {' or '.join(lows)}"


class TrainedSampler(BudgetSampler):
    """Draws members within budgets that a supernet was trained on, so that it holds weights for all of them.

    Raises:
        BudgetError: If no member fits the budgets, or none of those was trained on.
    """

    def __init__(self, space: SearchSpace, budgets: Sequence[Budget], *, aim: float, trained: Trained) -> None:
        self.trained = trained
        if len(budgets) == 1 and budgets[0].metric in trained.low:
            # Drawing from where the training began is quicker than drawing below it in vain.
            [(metric, bound)] = [(budget.metric, budget.bound) for budget in budgets]
            aim = max(aim, min(0.999, trained.low[metric] / min(bound, trained.high[metric])))
        super().__init__(space, budgets, aim=aim)
        self.layouts = tuple(layout for layout in self.layouts if layout in trained.layouts)
        if not self.layouts:
            raise BudgetError(
                f"No {space.name} network within {' and '.join(map(str, budgets))} has a layout that the supernet was "
                f"trained on ({', '.join(trained.layouts)}). Raise --budget or leave out --supernet."
            )

    def in_range(self, cost: Cost) -> bool:
        return self.trained.covers(cost) and super().in_range(cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Borrowed:
    """The trained supernet of another run.

    Attributes:
        run: That run's folder; `file` its weights, with their `sha256`, after so many training steps.
    """

    run: str
    file: str
    sha256: str
    step: int
    trained: Trained

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, without what the run that borrows records by itself."""
        return {"run": self.run, "file": self.file, "sha256": self.sha256, "step": self.step}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], trained: Trained, where: Path) -> Borrowed:
        """Reads what `to_dict` gave.

        Raises:
            RunError: If it is not that.
        """
        if set(plain) != {"run", "file", "sha256", "step"}:
            raise RunError(f"{where} does not say whose supernet it searches with. Start a new run with --supernet.")
        check_fields(cls, plain, where)
        return cls(**plain, trained=trained)


def open_trained(path: str | Path, space: SearchSpace) -> tuple[RunRecord, Trained]:
    """A run with shared weights of a space, and what these were trained on.

    Args:
        space: As it was loaded.

    Raises:
        RunError: If it is no run, searched another space, or trained no shared weights.
    """
    run = read_run(path)
    digest = run.manifest.get("space_digest")
    if digest != space.digest:
        name = run.manifest.get("options", {}).get("space", "?")
        raise RunError(
            f"--supernet {path}: its space is {name} ({digest}), not {space.name} ({space.digest}). "
            "Give the space that it was trained for, or leave out --supernet."
        )
    trained = Trained.from_dict(run.manifest.get("trained", {}), run.path)
    scorer = run.manifest.get("options", {}).get("scorer")
    if scorer in UNTRAINED:
        raise RunError(f"--supernet {path}: it scored by {scorer} and has no supernet. Leave out --supernet.")
    return run, trained


def borrow(path: str | Path, space: SearchSpace) -> tuple[RunRecord, Borrowed]:
    """Finds the supernet of another run.

    Args:
        space: The space to search, as it was loaded.

    Raises:
        RunError: If it is no run, searched another space, or its supernet has not been trained to the end.
    """
    run, trained = open_trained(path, space)
    folder = run.path.absolute()
    if trained.strategy in BLOCKWISE:
        raise RunError(
            f"--supernet {path}: it was trained block by block, for its own budget alone. Give a run of another "
            "--strategy, or leave out --supernet."
        )
    file = newest(folder / "supernet")
    facts = {} if file is None else read_facts(file)
    if file is None or not facts.get("ended") or "supernet" not in {e.phase for e in run.events(PhaseFinished)}:
        raise RunError(
            f"--supernet {path}: its supernet is not trained to the end. Finish it by nas-search --resume {path}."
        )
    return run, Borrowed(run=str(folder), file=str(file), sha256=file_digest(file), step=facts["step"], trained=trained)


def borrowing_options(options: SearchOptions, borrowed: Borrowed) -> SearchOptions:
    """The options with the resolutions that a borrowed supernet fixes.

    Raises:
        OptionError: If they ask for others.
    """
    for name in ("resolution", "train_resolution"):
        wanted, fixed = getattr(options, name), getattr(borrowed.trained, name)
        if wanted not in (None, fixed):
            raise OptionError(
                f"--{name.replace('_', '-')} {wanted}: the supernet of {options.supernet} was trained with {fixed}. "
                f"Leave it out, or leave out --supernet."
            )
    return replace(options, resolution=borrowed.trained.resolution, train_resolution=borrowed.trained.train_resolution)


def borrowing_plan(plan: Plan, trained: Trained) -> Plan:
    """The plan without training a supernet; how it was trained stays on record."""
    return replace(
        plan,
        floor=trained.floor,
        epochs=trained.epochs,
        strategy=trained.strategy,
        seconds={**plan.seconds, "supernet": 0.0},
    )


def check_borrowed_data(run: RunRecord, info: DataInfo, data: str) -> None:
    """Refuses data with other classes or channels than a supernet was trained on.

    Raises:
        RunError: If they differ.
    """
    before, now = run.manifest.get("data", {}), describe_classes(info)
    remedy = "Give its own data, or leave out --supernet."
    for name, words in (("num_classes", "classes"), ("channels", "channels per pixel")):
        if before.get(name) != now[name]:
            trained = f"{before.get(name, '?')} {words}"
            raise RunError(f"--supernet {run.path}: it was trained on {trained}, and {data} has {now[name]}. {remedy}")
    if before.get("class_names") != now["class_names"]:
        raise RunError(f"--supernet {run.path}: it was trained on other classes than those of {data}. {remedy}")


def check_trained(trained: Trained, budgets: Sequence[Budget], sampler: BudgetSampler, run: str) -> None:
    """Refuses budgets that a supernet was not trained for.

    Args:
        sampler: Of what it was trained on; knows the space's extremes.

    Raises:
        BudgetError: If a network within the budgets may be outside what was trained, quoting that range.
    """
    asked = {budget.metric: budget for budget in budgets}
    most = {metric: sampler.extremes(metric)[1] for metric in {*trained.high, *asked}}
    for metric, high in trained.high.items():
        bound = min(asked[metric].bound if metric in asked else most[metric], most[metric])
        if bound > high:
            named = {"macs": "multiply-adds", "params": "parameters"}.get(metric, metric)
            given = f"--budget {asked[metric]}" if metric in asked else f"--budget bounds no {named}"
            raise BudgetError(
                f"{given}: the supernet of {run} was trained on networks of {trained}. "
                f"Give --budget {Budget(metric=metric, bound=high)} or less, or leave out --supernet."
            )
    if not any((asked[m].bound if m in asked else most[m]) >= low for m, low in trained.low.items()):
        raise BudgetError(
            f"--budget {' and '.join(map(str, budgets))}: the supernet of {run} was trained on networks of {trained}, "
            "none of them so small. Raise --budget, or leave out --supernet."
        )


def left_out(trained: Trained, budgets: Sequence[Budget], aim: float) -> str | None:
    """What to say where a search would reach below what was trained, and so is cut to it."""
    below = [b for b in budgets if b.metric not in trained.low or aim * b.bound < trained.low[b.metric]]
    if not below:
        return None
    return (
        f"The supernet was trained on networks of {trained}: smaller ones are not searched, although --aim {aim:g} of "
        f"{' and '.join(map(str, below))} would admit them"
    )


def file_digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
