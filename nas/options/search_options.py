"""All options of a search as one immutable value, each declared once. `None` means "planned for this machine"."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from nas.errors import OptionError
from nas.options.declaration import check_values, declared, not_default, option, plain, words_of
from nas.options.kinds import (
    Budgets,
    Choice,
    Cluster,
    Device,
    Duration,
    Portion,
    Share,
    Size,
    Switch,
    Text,
    Texts,
    Whole,
    WholeOr,
)
from nas.options.methods import (
    DEFAULT_METHOD,
    METHODS,
    MethodOptions,
    method_of,
    option_owners,
)
from nas.options.objectives import Objectives, check_objectives
from nas.options.searchers import SEARCHERS
from nas.registry import unknown

QUALITY_METRICS = ("accuracy", "balanced-accuracy")
DTYPES = ("auto", "float32", "bfloat16")
AUGMENTS = ("auto", "none", "crop", "crop-flip")
ON_CORRUPT = ("skip", "refuse")

_WHAT, _HOW, _TRAINING = "what to search", "how to search", "data and training"
_RESULTS, _MACHINE = "results", "machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """The options of one search.

    Like the command line, `SearchOptions.of` takes the options of the method together with all others.
    """

    space: str | None = option(
        kind=Text("S"),
        help="search space: a name (`nas spaces` lists them) or a YAML file",
        default_help="the parts of --parent",
        group=_WHAT,
    )
    budgets: tuple[str, ...] = option(
        (),
        kind=Budgets(),
        help="upper bound on a network's cost: 4.2GFLOPs, 600MMACs, 25Mparams; one per metric",
        group=_WHAT,
    )
    data: str = option(
        "digits",
        kind=Text("D"),
        help="images: digits, a folder of class folders, an .npz file, a folder of IDX files, or hf:NAME",
        default_help="digits, or the images of the run whose --supernet is reused",
        group=_TRAINING,
    )
    min_share: float = option(
        0.75,
        kind=Share("the budget", 0.75),
        help="least share of the budget, the tightest where there are several, that proposed networks use",
        group=_WHAT,
    )
    resolution: int | None = option(
        kind=Whole(8, 4096, 224, "R"),
        help="image side at which costs are counted",
        default_help="the space's own",
        group=_WHAT,
    )
    imports: tuple[str, ...] = option(
        (),
        kind=Texts("FILE"),
        help="Python file that defines ops of your own; repeatable",
        group=_WHAT,
    )
    out: str | None = option(
        kind=Text("DIR"), help="run directory, or s3://bucket/run", default_help="a new one in runs/", group=_RESULTS
    )
    method: str = option(
        DEFAULT_METHOD,
        kind=Choice(lambda: METHODS, "M"),
        help="how architectures are scored: a method of the list below",
        default_help=f"{DEFAULT_METHOD}, or the method that the other options imply",
        group=_HOW,
    )
    searcher: str | None = option(
        kind=Choice(lambda: SEARCHERS, "S"),
        help="algorithm that proposes architectures, of the list below",
        default_help="evolution for calibrated and counts, else bo",
        group=_HOW,
    )
    seed: int = option(0, kind=Whole(0, 2**32 - 1, 0), help="random seed of the run", group=_TRAINING)
    trials: int | None = option(
        kind=Whole(1, 10_000_000, 200), help="architectures to score", default_help="planned", group=_HOW
    )
    time: int | None = option(
        kind=Duration(30),
        help="time to plan the search for, such as 20min or 2h, from this machine's measured speed",
        default_help="planned by the size of the data",
        group=_HOW,
    )
    finalists: int | None = option(
        kind=Whole(1, 1_000, 8),
        help="architectures to train, from scratch or from a --parent's weights",
        default_help="planned",
        group=_HOW,
    )
    finalist_epochs: int | None = option(
        kind=Whole(1, 1_000_000, 30), help="training epochs of each finalist", default_help="planned", group=_HOW
    )
    rivals: int = option(
        1,
        kind=Whole(0, 100, 2),
        help="networks that one would have tried without a search, trained like the finalists: the --parent, scaled to "
        "the budget if it is over it, then the zoo's best by published top-1 that fit; 0 for none",
        group=_HOW,
    )
    rival_epochs: int | str | None = option(
        kind=WholeOr(1, 1_000_000, "search"),
        help="training epochs of each rival, or search: those of a finalist and of the search before it",
        default_help="those of a finalist",
        group=_HOW,
    )
    recipe: str = option(
        "default",
        kind=Text("R"),
        help="training recipe of finalists, rivals and a --parent: default, finetune, long, or a YAML file",
        group=_TRAINING,
    )
    compile: bool = option(
        False,
        kind=Switch(),
        help="compile the training steps of finalists with torch.compile; needs a C++ compiler, on GPUs Triton",
        group=_TRAINING,
    )
    metric: str = option("accuracy", kind=Choice(QUALITY_METRICS, "M"), help="metric of quality", group=_TRAINING)
    objective: str | None = option(
        kind=Objectives(),
        help="costs to minimize beside the score: macs, params, latency or memory; several with commas",
        default_help="the first budget's",
        group=_HOW,
    )
    train_resolution: int | None = option(
        kind=Whole(8, 4096, 64, "R"),
        help="image side at which networks are trained",
        default_help="the images' own if time allows",
        group=_TRAINING,
    )
    augment: str = option(
        "auto",
        kind=Choice(AUGMENTS, "A"),
        help="shift and flip of training images; a --recipe may vary them further",
        default_help="auto, by the data",
        group=_TRAINING,
    )
    on_corrupt: str = option(
        "skip",
        kind=Choice(ON_CORRUPT, "WHAT"),
        help="skip images that cannot be read, or stop with an error",
        group=_TRAINING,
    )
    early_stopping: bool = option(
        True,
        kind=Switch(),
        help="stop finalists that fall behind while they train side by side on workers",
        group=_HOW,
    )
    onnx: bool | None = option(
        kind=Switch(optional=True),
        help="write a model.onnx for each winner",
        default_help="if onnx is installed",
        group=_RESULTS,
    )
    device: str = option(
        "auto", kind=Device(), help="where networks train: auto, cpu, cuda, cuda:0 or mps", group=_MACHINE
    )
    threads: int | None = option(
        kind=Whole(1, 1024, 2), help="CPU threads of training", default_help="one per core", group=_MACHINE
    )
    batch_size: int | None = option(
        # BatchNorm needs at least two images in training.
        kind=Whole(2, 65_536, 64),
        help="images per training step",
        default_help="by the size of the data",
        group=_TRAINING,
    )
    dtype: str = option(
        "auto",
        kind=Choice(DTYPES, "T"),
        help="data type of the forward pass",
        default_help="auto, bfloat16 on GPUs",
        group=_TRAINING,
    )
    workers: int | str | None = option(
        kind=WholeOr(0, 10_000, "auto"),
        help="Ray worker processes that score and train side by side; 0 uses this process, auto all there is room for",
        default_help="0, or auto with --ray",
        group=_MACHINE,
    )
    ray: str | None = option(
        kind=Cluster(),
        help="Ray cluster that workers run on: auto or HOST:PORT",
        default_help="this machine",
        group=_MACHINE,
    )
    gpus_per_worker: float | None = option(
        kind=Portion("a GPU", 0.25),
        help="part of a GPU that each worker gets where networks are on GPUs",
        default_help="an equal part of what there is",
        group=_MACHINE,
    )
    cpu_workers: int = option(
        0,
        kind=Whole(0, 10_000, 4),
        help="further workers that score on CPUs; beside workers on GPUs, scores then depend on which has the job",
        group=_MACHINE,
    )
    job_threads: int = option(1, kind=Whole(1, 1024, 2), help="CPU threads of one scoring job", group=_MACHINE)
    asynchronous: bool = option(
        False,
        kind=Switch(),
        help="propose networks whenever workers are free, instead of in batches, which wait for their slowest score; "
        "trials then depend on the order in which scores arrive",
        group=_MACHINE,
    )
    job_timeout: int | None = option(
        kind=Whole(1, 10_000_000, 600, "S"),
        help="seconds after which a worker's job is retried",
        default_help="a multiple of the time that other jobs took",
        group=_MACHINE,
    )
    max_memory: int | None = option(
        kind=Size(),
        help="memory that the images may take while they are read",
        default_help="80 % of what is free",
        group=_MACHINE,
    )
    method_options: MethodOptions | None = None

    def __post_init__(self) -> None:
        given = cast("object", self.budgets)
        if not isinstance(given, list | tuple):
            raise OptionError(f"budgets must be a list, but got {given!r}: write ['4.2GFLOPs'].")
        object.__setattr__(self, "budgets", tuple(str(budget) for budget in self.budgets))
        if isinstance(cast("object", self.imports), list | tuple):
            object.__setattr__(self, "imports", tuple(map(plain, self.imports)))
        for name, each in declared(self).items():
            value = plain(getattr(self, name))
            with_unit = isinstance(value, str) and isinstance(each.kind, Duration | Size)
            object.__setattr__(self, name, each.kind.read(name, value) if with_unit else value)
        if self.method_options is None and self.method in METHODS:
            object.__setattr__(self, "method_options", METHODS[self.method].options_type()())

    @classmethod
    def of(cls, **given: Any) -> SearchOptions:
        """Returns search options, where those of the method may be among `given`; they imply the method if it is not.

        `time` is in seconds and `max_memory` in bytes, or both with a unit, as "20min" and "2GB".

        Raises:
            OptionError: If a name is unknown, an option belongs to another method, or a unit is none.
        """
        owners = option_owners()
        known = [*declared(cls), *owners]
        for name in given:
            if name not in known:
                raise OptionError(unknown("option", name, known, most=len(known)))
        method, own = method_of(given)
        if given.get("space") is None and own.derives_from is None:
            raise OptionError("A search needs a space: give a name such as 'coatnet', or a YAML file.")
        common = {name: value for name, value in given.items() if name not in owners and name != "method"}
        return cls(**common, method=method, method_options=own)

    @classmethod
    def typed(cls) -> dict[str, list[str]]:
        """Returns the names of the options with a flag by heading, in the order of a help text."""
        groups: dict[str, list[str]] = {heading: [] for heading in (_WHAT, _HOW, _TRAINING, _MACHINE, _RESULTS)}
        for name, each in declared(cls).items():
            groups[each.group].append(name)
        return groups

    def replaced(self, **given: Any) -> SearchOptions:
        """Returns a copy with the given options replaced; method options are kept unless the method changes."""
        stays = given.get("method", self.method) == self.method
        own = not_default(self.of_method()) if stays else {}
        return type(self).of(**{**{name: getattr(self, name) for name in declared(self)}, **own, **given})

    def of_method(self) -> MethodOptions:
        """Returns the options that belong to the method."""
        assert self.method_options is not None, "an unknown method has no options"
        return self.method_options

    def validate(self) -> None:
        """Checks every option as far as possible without the space, the data or the machine.

        Raises:
            OptionError: For the first wrong value; its line has the option, the value and a remedy.
            BudgetError: The same, for a budget.
        """
        check_values(self)
        if type(self.method_options) is not METHODS[self.method].options_type():
            raise OptionError(
                f"method_options of another method than {self.method} were given: use SearchOptions.of(method=…, …)."
            )
        self.of_method().validate(self)
        check_objectives(self.objective, self.budgets)
        if self.ray is not None and self.workers == 0:
            raise OptionError(
                f"--ray {self.ray} --workers 0: a search on a cluster needs workers. Leave out one of the two."
            )

    def fixed_workers(self) -> int:
        """Returns the number of workers asked for; 0 where it is none, or as many as there is room for."""
        return self.workers if isinstance(self.workers, int) else 0

    def to_dict(self) -> dict[str, Any]:
        """Returns all options as plain JSON, in the order above; those of the method as a nested mapping."""
        plain = {name: getattr(self, name) for name in declared(self)}
        plain |= {"budgets": list(self.budgets), "imports": list(self.imports)}
        plain["method_options"] = dataclasses.asdict(self.of_method())
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> SearchOptions:
        """Restores and checks options that `to_dict` wrote.

        Raises:
            OptionError: If a name is unknown, `space` is missing or a value is invalid.
        """
        own = plain.get("method_options", {})
        if not isinstance(own, Mapping):
            raise OptionError(f"method_options must be a mapping, but got {str(own)[:40]!r}.")
        common = {name: value for name, value in plain.items() if name != "method_options"}
        if str(common.get("method", DEFAULT_METHOD)) not in METHODS:
            raise OptionError(
                f"Method {str(common['method'])[:60]!r} is not known here. Run the program that registers it, or give "
                "its file by --import."
            )
        options = cls.of(**{"method": DEFAULT_METHOD, **common, **cast("Mapping[str, Any]", own)})
        options.validate()
        return options

    def command(self, **instead: Any) -> list[str]:
        """Returns the command line that repeats this search: the command, the data and all non-default options.

        Args:
            instead: Options to replace; the run directory is left out.
        """
        asked = self.replaced(**instead) if instead else self
        given = {**not_default(asked), "data": asked.data}
        order = [name for name in declared(self) if name in given and name != "out"]
        return [
            "nas-search",
            *words_of({name: given[name] for name in order}),
            *words_of(not_default(asked.of_method())),
        ]
