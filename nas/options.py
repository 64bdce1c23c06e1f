"""Every option of a search as one immutable value. `None` means "planned for this machine"."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from nas.budget import parse_budgets
from nas.errors import OptionError
from nas.registry import unknown

# Option errors must answer without importing what carries the names out, so the names stand here; tests hold
# the registries of the rings above to them.
# Functions of a network at its initial weights, and rank aggregates of several of them.
ZERO_COST = (
    "dss", "expressivity", "grad_norm", "nwot", "progressivity", "snip", "synflow", "trainability", "zen", "zico",
)  # fmt: skip
AGGREGATES = ("az-nas", "zero-cost")
# What anybody can count.
COUNTED = ("params", "macs", "depth", "channels", "log_channels", "convolutions")
# The accuracy with a supernet's weights, and the logarithm of the right classes' probabilities.
SHARED_WEIGHTS = ("supernet", "supernet-loss")
SCORERS = (*SHARED_WEIGHTS, "calibrated", "blockwise", *AGGREGATES, *ZERO_COST, *COUNTED)
_PROBING = ("calibrated", *AGGREGATES, *ZERO_COST)
# Those that train no shared weights.
UNTRAINED = (*_PROBING, *COUNTED)
_LENT = (*SHARED_WEIGHTS, "blockwise")
_LOOKING = (*_LENT, *_PROBING)
# What options of `nas rank` are about; those that are not here are about every ranking.
_RANKING_USES = {
    "supernet": _LENT,
    "data": _LOOKING,
    "calibrations": ("calibrated",),
    "calibration_epochs": ("calibrated",),
    "augment": ("calibrated",),
    "work": _PROBING,
    "device": _PROBING,
}
SEARCHERS = ("evolution", "nsga2", "tpe", "random")
SEQUENTIAL, DISTILLING = "blockwise-sequential", "blockwise-distil"
STRATEGIES = ("sandwich", "single-path", "blockwise", DISTILLING, SEQUENTIAL)
BLOCKWISE = ("blockwise", DISTILLING, SEQUENTIAL)
"""Strategies that train and score blocks, and then know the best architectures: they bring their scorer along."""
QUALITY_METRICS = ("accuracy", "balanced-accuracy")
OBJECTIVES = ("macs",)
DTYPES = ("auto", "float32", "bfloat16")
AUGMENTS = ("auto", "none", "crop", "crop-flip")
ON_CORRUPT = ("skip", "refuse")
EXPORT_FORMATS = ("config", "code", "weights", "onnx")
DEVICES = ("auto", "cpu", "cuda", "mps")

_CHOICES: dict[str, tuple[str, ...]] = {
    "scorer": ("auto", *SCORERS),
    "searcher": SEARCHERS,
    "strategy": STRATEGIES,
    "metric": QUALITY_METRICS,
    "objective": OBJECTIVES,
    "dtype": DTYPES,
    "augment": AUGMENTS,
    "on_corrupt": ON_CORRUPT,
}
# Option -> (smallest, largest, example). Two images are the least that BatchNorm can train on.
_RANGES: dict[str, tuple[int, int, int]] = {
    "seed": (0, 2**32 - 1, 0),
    "trials": (1, 10_000_000, 200),
    "epochs": (1, 1_000_000, 30),
    "finalists": (1, 1_000, 8),
    "finalist_epochs": (1, 1_000_000, 30),
    "resolution": (8, 4096, 224),
    "train_resolution": (8, 4096, 64),
    "threads": (1, 1024, 2),
    "batch_size": (2, 65_536, 64),
    "job_threads": (1, 1024, 2),
    "job_timeout": (1, 10_000_000, 600),
    "workers": (0, 10_000, 2),
    "calibrations": (2, 10_000, 12),
    "calibration_epochs": (1, 1_000_000, 2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """What a person asks of one search.

    Args:
        space: Name of a built-in space, or a path to a YAML file.
        budgets: Texts such as "4.2GFLOPs"; see `nas.budget.Budget.parse`.
        data: "digits", a folder of images, an .npz file or a folder of IDX files.
        out: The run folder; None picks a fresh one under runs/.
        seed: Settles every draw of the run.
        trials: Architectures to score.
        epochs: Epochs that the supernet trains for.
        scorer: How an architecture is measured. "auto" is "blockwise" with the block-wise strategies, "supernet" where
            another option is about a supernet, else "calibrated".
        calibrations: What the scorer "calibrated" may train for a short while, `calibration_epochs` each: as many
            networks as cost what so many average ones do.
        searcher: What proposes architectures. The block-wise strategies know the best ones without.
        strategy: How the supernet trains.
        metric: What a score is, on the search-validation split.
        objective: The cost that the Pareto front holds against the score.
        aim: Least share of the budget that a proposal should spend, from 0 up to but not including 1.
        finalists: Architectures to train from scratch at the end.
        finalist_epochs: Epochs that each finalist trains for.
        resolution: Side of the square images that the budget is counted at; None is the space's own.
        train_resolution: Side of the images that supernet and finalists train on.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        threads: CPU threads that torch may use.
        batch_size: Images per training step.
        dtype: What the forward pass computes in.
        augment: How training images are varied.
        on_corrupt: Whether an image that cannot be read is skipped or refuses the data set.
        workers: Processes that score and train side by side, run by Ray. 0 is this process alone; None is that too,
            or as many as there is room for where `ray` names a cluster.
        ray: The Ray cluster that the workers run on: "auto", or HOST:PORT. None is this machine.
        job_threads: CPU threads of one scoring job, wherever it runs.
        job_timeout: Seconds after which a job on a worker is given up and tried again; None follows from other jobs.
        early_stopping: Whether finalists on workers that fall behind are stopped; in this process none is.
        onnx: Whether winners get a model.onnx; None where the extra is installed.
        supernet: The folder of a run whose trained supernet is used instead of training one.
        teacher: The folder of a trained network as `nas export` writes it, which blocks learn from by the strategy
            "blockwise-distil".
    """

    space: str
    budgets: tuple[str, ...] = ()
    data: str = "digits"
    out: str | None = None
    seed: int = 0
    trials: int | None = None
    epochs: int | None = None
    scorer: str = "auto"
    searcher: str = "evolution"
    strategy: str | None = None
    metric: str = "accuracy"
    objective: str = "macs"
    aim: float = 0.75
    finalists: int | None = None
    finalist_epochs: int | None = None
    resolution: int | None = None
    train_resolution: int | None = None
    device: str = "auto"
    threads: int | None = None
    batch_size: int | None = None
    dtype: str = "auto"
    augment: str = "auto"
    on_corrupt: str = "skip"
    workers: int | None = None
    ray: str | None = None
    job_threads: int = 1
    job_timeout: int | None = None
    early_stopping: bool = True
    onnx: bool | None = None
    supernet: str | None = None
    calibrations: int | None = None
    calibration_epochs: int | None = None
    teacher: str | None = None

    def __post_init__(self) -> None:
        given = cast("object", self.budgets)
        if not isinstance(given, list | tuple):
            raise OptionError(f"budgets must be a list, but got {given!r}: write ['4.2GFLOPs'].")
        object.__setattr__(self, "budgets", tuple(str(budget) for budget in self.budgets))

    @property
    def scoring(self) -> str:
        """The scorer, "auto" made out: the one that other options are about, calibrated where none is about any.

        Why that: docs/decisions/0008-calibrated-score.md.
        """
        if self.scorer != "auto":
            return self.scorer
        if self.strategy in BLOCKWISE:
            return "blockwise"
        about_supernet = any(each is not None for each in (self.strategy, self.epochs, self.supernet))
        return "supernet" if about_supernet else "calibrated"

    def validate(self) -> None:
        """Checks every option that can be checked without looking at the space, the data or the machine.

        Raises:
            OptionError: One line with the option, its value and what would work, for the first that is wrong.
            BudgetError: The same, for a budget.
        """
        for name in ("space", "data"):
            check_text(name, getattr(self, name))
        if self.out is not None:
            check_text("out", self.out)
        if self.supernet is not None:
            check_text("supernet", self.supernet)
            for name in ("epochs", "strategy"):
                if getattr(self, name) is not None:
                    raise OptionError(
                        f"{flag(name)} {getattr(self, name)} is about training a supernet, and that of "
                        f"--supernet {self.supernet} is trained. Leave out one of the two."
                    )
        parse_budgets(self.budgets)
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if not (name == "strategy" and value is None):
                check_choice(name, value, known)
        for name in _RANGES:
            value = getattr(self, name)
            if value is not None or name in ("seed", "job_threads"):
                check_range(name, value)
        self._check_blockwise()
        self._check_untrained()
        check_aim(self.aim)
        check_device(self.device)
        if self.ray is not None:
            check_ray(self.ray, self.workers)
        if self.early_stopping not in (True, False):
            raise OptionError(f"--early-stopping must be true or false, but got {self.early_stopping!r}.")
        if self.onnx not in (None, True, False):
            raise OptionError(f"onnx must be true, false or left out, but got {self.onnx!r}.")

    def _check_blockwise(self) -> None:
        blockwise = self.strategy in BLOCKWISE
        if blockwise and self.searcher != SEARCHERS[0]:
            raise OptionError(
                f"--searcher {self.searcher}: with --strategy {self.strategy} the best networks are found exactly, by "
                "a dynamic programme. Leave out one of the two."
            )
        if (self.scoring == "blockwise") != blockwise:
            raise OptionError(
                f"--scorer {self.scorer} and --strategy {self.strategy or 'left out'} do not go together: give "
                f"--strategy {BLOCKWISE[0]} alone, which scores by itself, or leave out --scorer."
            )
        if self.teacher is not None:
            check_text("teacher", self.teacher)
        if self.teacher is None and self.strategy == DISTILLING:
            raise OptionError(
                f"--strategy {DISTILLING} needs a teacher: give --teacher FOLDER, a trained network such as winners/1 "
                "of a run."
            )
        if self.teacher is not None and self.strategy != DISTILLING:
            raise OptionError(
                f"--teacher {self.teacher} goes with --strategy {DISTILLING} alone: give that, or leave out --teacher."
            )

    def _check_untrained(self) -> None:
        for name in ("strategy", "epochs", "supernet"):
            if self.scoring in UNTRAINED and getattr(self, name) is not None:
                raise OptionError(
                    f"{flag(name)} {getattr(self, name)} is about a supernet, and --scorer {self.scorer} trains none. "
                    "Leave out one of the two."
                )
        for name in ("calibrations", "calibration_epochs"):
            if self.scoring != "calibrated" and getattr(self, name) is not None:
                raise OptionError(
                    f"{flag(name)} {getattr(self, name)} goes with --scorer calibrated alone. Leave it out."
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON with every option, in the order above."""
        plain = dataclasses.asdict(self)
        plain["budgets"] = list(self.budgets)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> SearchOptions:
        """The options that `to_dict` wrote, checked.

        Raises:
            OptionError: If a name is unknown, `space` is missing or a value means nothing.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in plain:
            if name not in known:
                raise OptionError(unknown("option", name, known, most=len(known)))
        if "space" not in plain:
            raise OptionError("A search needs a space: give a name such as 'coatnet', or a YAML file.")
        options = cls(**plain)
        options.validate()
        return options


def words_of(options: Mapping[str, Any], **instead: Any) -> list[str]:
    """What is typed to ask for a search once more: the command, the data and what else is not at its default.

    Args:
        options: As `SearchOptions.to_dict` gives them; the run folder is left out.
        instead: Values that take the place of those given.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(SearchOptions)}
    asked, words = {**options, **instead}, ["nas-search"]
    # There is one objective, and no option for it.
    for name in (name for name in defaults if name in asked and name not in ("out", "objective")):
        value = asked[name]
        if name == "budgets":
            words += [word for budget in value for word in ("--budget", str(budget))]
        elif value is None or (value == defaults[name] and name != "data"):  # beside --supernet, data have another
            continue
        elif isinstance(value, bool):
            words.append(flag(name if value else f"no-{name}"))
        else:
            words += [flag(name), str(value)]
    return words


def flag(name: str) -> str:
    """How the command line spells an option: "batch_size" is "--batch-size"."""
    return "--" + name.replace("_", "-")


def check_text(name: str, value: object) -> None:
    """Raises `OptionError` unless `value` is a text that is not blank."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise OptionError(f"{flag(name)} must be a name or a path, but got {_shown(value)}.")


def check_choice(name: str, value: object, known: Iterable[str]) -> None:
    """Raises `OptionError` with the nearest name unless `value` is one of `known`."""
    known = tuple(known)
    if value not in known:
        raise OptionError(unknown(f"value of {flag(name)}", value, known))


def check_range(name: str, value: object) -> None:
    """Raises `OptionError` unless `value` is a whole number within the option's range."""
    check_whole(name, value, *_RANGES[name])


def check_whole(name: str, value: object, low: int, high: int, example: int) -> None:
    """Raises `OptionError` unless `value` is a whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise OptionError(
            f"{flag(name)} must be a whole number from {low} to {high}, but got {_shown(value)}: "
            f"give one such as {flag(name)} {example}."
        )


def check_aim(value: object) -> None:
    """Raises `OptionError` unless `value` is a share of the budget below 1."""
    # NaN fails both comparisons.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise OptionError(
            f"--aim must be a share of the budget, at least 0 and below 1, but got {_shown(value)}: "
            "give one such as --aim 0.75."
        )


def check_device(value: object) -> None:
    """Raises `OptionError` unless `value` names a kind of device; whether it is there is for later."""
    if not isinstance(value, str) or not (value in DEVICES or re.fullmatch(r"cuda:[0-9]{1,3}", value)):
        raise OptionError(unknown("value of --device", value, (*DEVICES, "cuda:0")))


def check_ray(value: object, workers: int | None = None) -> None:
    """Raises `OptionError` unless `value` may name a Ray cluster; whether it answers is for later."""
    named = isinstance(value, str) and (value == "auto" or re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):\d{1,5}", value))
    if not named:
        hint = " Ray Client addresses are not taken: run nas-search on a node of the cluster, as by ray job submit."
        raise OptionError(
            f"--ray must be auto or HOST:PORT, but got {_shown(value)}: give the address that `ray start` printed, "
            f"such as --ray 10.0.0.1:6379.{hint if str(value).startswith('ray://') else ''}"
        )
    if workers == 0:
        raise OptionError(f"--ray {value} --workers 0: workers are what a cluster is for. Leave out one of the two.")


def check_spaceless(*, scorers: Sequence[str], known: int | None, score_columns: Sequence[str]) -> None:
    """Raises `OptionError` unless a ranking without a space has something to judge and nothing that needs one."""
    needing = f"--scorer {scorers[0]}" if scorers else "--known" if known is not None else None
    if needing is not None:
        raise OptionError(f"{needing} needs --space: the one that the table's networks are members of.")
    if not score_columns:
        raise OptionError("Nothing to judge: name a column by --score-column, or give --space and a --scorer.")


def check_used(given: Mapping[str, Any], scorers: Sequence[str]) -> None:
    """Raises `OptionError` if an option of a ranking, given as typed, is about nothing that was asked for."""
    for name, users in _RANKING_USES.items():
        if name in given and not set(users) & set(scorers):
            which = "a --scorer that looks at images" if users == _LOOKING else f"--scorer {', '.join(users)}"
            raise OptionError(
                f"{flag(name)} {given[name]} is used by {which}, and no such scorer is asked for. Ask for one, or "
                f"leave out {flag(name)}."
            )
    if "arch_column" in given and "space" not in given:
        raise OptionError(
            f"--arch-column {given['arch_column']} is used with --space: without one no architecture is read. Give the "
            "space that they are members of, or leave out --arch-column."
        )


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return " ".join(text[:60].split())
