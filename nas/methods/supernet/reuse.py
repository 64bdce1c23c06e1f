"""The coverage of a supernet (what it was trained on), and searching with the supernet of another run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from nas.budget import Budget, Cost
from nas.budget_metrics import ADDITIVE, METRICS
from nas.data import DataInfo
from nas.errors import BudgetError, OptionError, RunError
from nas.methods.protocol.manifest import describe_classes
from nas.methods.protocol.phases import is_finished
from nas.methods.protocol.saved_run import SavedRun
from nas.options import SearchOptions
from nas.run import RunRecord
from nas.run.events import ParentInherited
from nas.run.files import file_digest
from nas.run.schema import check_fields
from nas.sampling import BudgetSampler, FeasibleSet
from nas.sampling.infeasible import joined
from nas.spaces import SearchSpace
from nas.training.checkpoint import newest, read_facts

FOLDER = "supernet"


@dataclass(frozen=True, slots=True, kw_only=True)
class SupernetCoverage:
    """The architectures that a supernet was trained on: within every bound of `high`, at or above one of `low`.

    Attributes:
        budgets: Budgets of the supernet's run, which determine the weights that exist.
        train_min_share: Least share of a budget that these architectures use.
        layouts: Layouts of these architectures.
        seed: Seed of the data split: another split would score on images that the supernet was trained on.
        epochs, strategy: How it was trained.
    """

    budgets: tuple[str, ...]
    train_min_share: float
    low: dict[str, float]
    high: dict[str, float]
    layouts: tuple[str, ...]
    resolution: int
    train_resolution: int
    seed: int
    epochs: int
    strategy: str

    @classmethod
    def of(
        cls,
        sampler: BudgetSampler,
        *,
        resolution: int,
        train_resolution: int,
        seed: int,
        epochs: int,
        strategy: str,
    ) -> SupernetCoverage:
        """Returns the coverage of a supernet that is trained on all members of a sampler."""
        feasible = sampler.feasible
        high = dict(zip(feasible.metrics, feasible.bounds, strict=True))
        return cls(
            budgets=tuple(map(str, sampler.budgets)),
            train_min_share=feasible.min_share,
            low={
                metric: math.ceil(feasible.min_share * bound) if METRICS[metric].whole else feasible.min_share * bound
                for metric, bound in high.items()
            },
            high=high,
            layouts=sampler.layouts,
            resolution=resolution,
            train_resolution=train_resolution,
            seed=seed,
            epochs=epochs,
            strategy=strategy,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], where: Path) -> SupernetCoverage:
        """Restores what `to_dict` returned.

        Raises:
            RunError: If it is something else.
        """
        names = {field.name for field in fields(cls)}
        if set(plain) != names:
            raise RunError(
                f"{where} was made by a version that did not record what its supernet was trained on. Start a new run."
            )
        check_fields(cls, plain, where)
        for ends in (plain["low"], plain["high"]):
            if set(ends) != set(plain["high"]) or not set(ends) <= {*METRICS}:
                raise RunError(
                    f"{where} is damaged: its supernet's coverage is in {str(list(ends))[:60]}. Restore it from a copy."
                )
        return cls(**{**plain, "budgets": tuple(plain["budgets"]), "layouts": tuple(plain["layouts"])})

    def sampler(self, space: SearchSpace) -> BudgetSampler:
        """Returns a sampler of the architectures that it was trained on."""
        return BudgetSampler(space, [Budget.parse(text) for text in self.budgets], min_share=self.train_min_share)

    @property
    def feasible(self) -> FeasibleSet:
        """Returns the set of costs of these architectures."""
        return FeasibleSet(metrics=tuple(self.high), bounds=tuple(self.high.values()), min_share=self.train_min_share)

    def __str__(self) -> str:
        highs = [str(Budget(metric=metric, bound=bound)) for metric, bound in self.high.items()]
        if not self.train_min_share:
            return f"at most {' and '.join(highs)}"
        lows = [str(Budget(metric=metric, bound=bound)) for metric, bound in self.low.items()]
        if len(lows) == 1:
            return f"{lows[0]} to {highs[0]}"
        return f"at most {' and '.join(highs)}, and at least {' or '.join(lows)}"


class CoveredSampler(BudgetSampler):
    """Samples feasible architectures that a supernet was trained on, so that it holds weights for all of them.

    Raises:
        BudgetError: If no member fits the budgets, or none of those was trained on.
    """

    def __init__(
        self, space: SearchSpace, budgets: Sequence[Budget], *, min_share: float, coverage: SupernetCoverage
    ) -> None:
        self._trained_on = coverage.feasible
        if len(budgets) == 1 and budgets[0].metric in coverage.low:
            # Sampling from the coverage's lower bound avoids rejections.
            [(metric, bound)] = [(budget.metric, budget.bound) for budget in budgets]
            min_share = max(min_share, min(0.999, coverage.low[metric] / min(bound, coverage.high[metric])))
        super().__init__(space, budgets, min_share=min_share)
        self.layouts = tuple(layout for layout in self.layouts if layout in coverage.layouts)
        if not self.layouts:
            raise BudgetError(
                f"No {space.name} network within {joined(budgets)} has a layout that the supernet was "
                f"trained on ({', '.join(coverage.layouts)}). Raise --budget or leave out --supernet."
            )

    def contains(self, cost: Cost) -> bool:
        return self._trained_on.contains(cost) and super().contains(cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReusedSupernet:
    """The trained supernet of another run.

    Attributes:
        source_run: That run's directory; `file` has its weights, with their `sha256`, after `step` training steps.
    """

    source_run: str
    file: str
    sha256: str
    step: int
    coverage: SupernetCoverage

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON, without the coverage, which a run records separately."""
        return {"source_run": self.source_run, "file": self.file, "sha256": self.sha256, "step": self.step}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], coverage: SupernetCoverage, where: Path) -> ReusedSupernet:
        """Restores what `to_dict` returned.

        Raises:
            RunError: If it is something else.
        """
        if set(plain) != {"source_run", "file", "sha256", "step"}:
            raise RunError(f"{where} does not record the source run of its supernet. Start a new run with --supernet.")
        check_fields(cls, plain, where)
        return cls(**plain, coverage=coverage)

    @classmethod
    def find(cls, path: str | Path, space: SearchSpace) -> tuple[SavedRun, ReusedSupernet]:
        """Finds the supernet of a run.

        Args:
            space: The space to search, as loaded.

        Raises:
            RunError: If it is not a run directory, searched another space, or has no fully trained supernet.
        """
        saved = SavedRun.open(path, space, "supernet")
        run, folder = saved.run, saved.run.path.absolute()
        if run.last(ParentInherited) is not None:
            raise RunError(
                f"--supernet {path}: its supernet began with a parent, and serves that search alone. Give --parent and "
                "--weights again."
            )
        coverage = SupernetCoverage.from_dict(run.part("method", "coverage"), run.path)
        file = newest(folder / FOLDER)
        facts = {} if file is None else read_facts(file)
        if file is None or not facts.get("ended") or not is_finished(run, FOLDER):
            raise RunError(
                f"--supernet {path}: its supernet is not fully trained. Finish it with nas-search --resume {path}."
            )
        found = cls(
            source_run=str(folder), file=str(file), sha256=file_digest(file), step=facts["step"], coverage=coverage
        )
        return saved, found


def fixed_options(options: SearchOptions, source: str, coverage: SupernetCoverage) -> SearchOptions:
    """Returns the options with the resolutions that a reused supernet fixes.

    Raises:
        OptionError: If the options give other resolutions.
    """
    for name in ("resolution", "train_resolution"):
        wanted, fixed = getattr(options, name), getattr(coverage, name)
        if wanted not in (None, fixed):
            raise OptionError(
                f"--{name.replace('_', '-')} {wanted}: the supernet of {source} was trained with {fixed}. "
                f"Leave it out, or leave out --supernet."
            )
    return replace(options, resolution=coverage.resolution, train_resolution=coverage.train_resolution)


def check_same_classes(run: RunRecord, info: DataInfo, data: str) -> None:
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


def check_covered(coverage: SupernetCoverage, budgets: Sequence[Budget], sampler: BudgetSampler, run: str) -> None:
    """Refuses budgets that a supernet was not trained for.

    Args:
        sampler: Sampler of the architectures that it was trained on.

    Raises:
        BudgetError: If a network within the budgets may be outside what was trained, quoting that.
    """
    asked = {budget.metric: budget for budget in budgets}
    counted = {metric: sampler.extremes(metric)[1] for metric in ADDITIVE}
    most = {metric: counted.get(metric, math.inf) for metric in {*coverage.high, *asked}}
    for metric, high in coverage.high.items():
        bound = min(asked[metric].bound if metric in asked else most[metric], most[metric])
        if bound > high:
            given = f"--budget {asked[metric]}" if metric in asked else f"--budget bounds no {METRICS[metric].noun}"
            raise BudgetError(
                f"{given}: the supernet of {run} was trained on networks of {coverage}. "
                f"Give --budget {Budget(metric=metric, bound=high)} or less, or leave out --supernet."
            )
    if not any((asked[m].bound if m in asked else most[m]) >= low for m, low in coverage.low.items()):
        raise BudgetError(
            f"--budget {joined(budgets)}: the supernet of {run} was trained on networks of {coverage}, "
            "none of them so small. Raise --budget, or leave out --supernet."
        )


def uncovered(coverage: SupernetCoverage, budgets: Sequence[Budget], min_share: float) -> str | None:
    """Returns a note if the search is restricted by the coverage's lower bound, else None."""
    below = [b for b in budgets if b.metric not in coverage.low or min_share * b.bound < coverage.low[b.metric]]
    if not below:
        return None
    return (
        f"The supernet was trained on networks of {coverage}: smaller ones are not searched, although --min-share "
        f"{min_share:g} of {joined(below)} would admit them"
    )
