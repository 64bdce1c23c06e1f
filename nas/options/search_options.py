"""Every option of a search as one immutable value, each declared once. `None` means "planned for this machine"."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from nas.errors import OptionError
from nas.options.declaration import check_values, declared, not_default, option, words_of
from nas.options.kinds import Budgets, Choice, Cluster, Device, Share, Switch, Text, Whole
from nas.options.methods import (
    DEFAULT_METHOD,
    METHODS,
    MethodOptions,
    given_options,
    method_of,
    option_owners,
)
from nas.options.searchers import SEARCHERS
from nas.registry import unknown

QUALITY_METRICS = ("accuracy", "balanced-accuracy")
OBJECTIVES = ("macs",)
DTYPES = ("auto", "float32", "bfloat16")
AUGMENTS = ("auto", "none", "crop", "crop-flip")
ON_CORRUPT = ("skip", "refuse")

_WHAT, _HOW, _MACHINE = "what to search", "how", "machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """Everything that a person asks of one search.

    `SearchOptions.of` takes the options of the method beside the others, as the command line does.
    """

    space: str = option(
        kind=Text("S"), help="the search space: a name (`nas spaces`) or a YAML file", group=_WHAT, required=True
    )
    budgets: tuple[str, ...] = option(
        (), kind=Budgets(), help="4.2GFLOPs, 600MMACs, 25Mparams; may be given once per metric", group=_WHAT
    )
    data: str = option(
        "digits",
        kind=Text("D"),
        help="digits, a folder with a folder of images per class, an .npz file, a folder of IDX files, or hf:NAME",
        group=_WHAT,
    )
    min_share: float = option(
        0.75, kind=Share("the budget", 0.75), help="least share of the budget that a network uses", group=_WHAT
    )
    resolution: int | None = option(
        kind=Whole(8, 4096, 224, "R"),
        help="side of the square images that the budget is counted at",
        default_help="the space's own",
        group=_WHAT,
    )
    out: str | None = option(
        kind=Text("DIR"), help="the run directory", default_help="a fresh one in runs/", group=_WHAT
    )
    method: str = option(
        DEFAULT_METHOD,
        kind=Choice(lambda: METHODS, "M"),
        help="how architectures get scores",
        default_help=f"{DEFAULT_METHOD}, or the method that the other options belong to",
        group=_HOW,
    )
    searcher: str = option(
        "evolution", kind=Choice(lambda: SEARCHERS, "S"), help="what proposes architectures", group=_HOW
    )
    seed: int = option(0, kind=Whole(0, 2**32 - 1, 0), help="random seed of the run", group=_HOW)
    trials: int | None = option(
        kind=Whole(1, 10_000_000, 200), help="architectures to score", default_help="planned", group=_HOW
    )
    finalists: int | None = option(
        kind=Whole(1, 1_000, 8), help="architectures to train from scratch", default_help="planned", group=_HOW
    )
    finalist_epochs: int | None = option(
        kind=Whole(1, 1_000_000, 30), help="training epochs of each finalist", default_help="planned", group=_HOW
    )
    metric: str = option(
        "accuracy", kind=Choice(QUALITY_METRICS, "M"), help="what is measured on validation and test images", group=_HOW
    )
    objective: str = option(
        "macs", kind=Choice(OBJECTIVES, "COST"), help="the cost on the other axis of the Pareto front", group=_HOW
    )
    train_resolution: int | None = option(
        kind=Whole(8, 4096, 64, "R"),
        help="side of the square images that networks are trained on",
        default_help="the images' own size where that can be afforded",
        group=_HOW,
    )
    augment: str = option(
        "auto",
        kind=Choice(AUGMENTS, "A"),
        help="augmentation of training images",
        default_help="auto, what suits the data",
        group=_HOW,
    )
    on_corrupt: str = option(
        "skip",
        kind=Choice(ON_CORRUPT, "WHAT"),
        help="what becomes of images that cannot be read: skipped, or the data set is refused",
        group=_HOW,
    )
    early_stopping: bool = option(
        True,
        kind=Switch(),
        help="stop finalists that fall behind, where they train side by side on workers",
        group=_HOW,
    )
    onnx: bool | None = option(
        kind=Switch(optional=True),
        help="write a model.onnx for each winner",
        default_help="where the extra is installed",
        group=_HOW,
    )
    device: str = option("auto", kind=Device(), help="auto, cpu, cuda, cuda:0 or mps", group=_MACHINE)
    threads: int | None = option(
        kind=Whole(1, 1024, 2), help="CPU threads of training", default_help="one per core", group=_MACHINE
    )
    batch_size: int | None = option(
        # Two images are the least that BatchNorm can train on.
        kind=Whole(2, 65_536, 64),
        help="images per training step",
        default_help="by the size of the data",
        group=_MACHINE,
    )
    dtype: str = option(
        "auto",
        kind=Choice(DTYPES, "T"),
        help="data type of the forward pass",
        default_help="auto, bfloat16 on GPUs",
        group=_MACHINE,
    )
    workers: int | None = option(
        kind=Whole(0, 10_000, 2),
        help="processes that score and train side by side, by Ray; 0 is this process alone",
        default_help="this process, or as many as a cluster given by --ray has room for",
        group=_MACHINE,
    )
    ray: str | None = option(
        kind=Cluster(),
        help="the Ray cluster that workers run on: auto or HOST:PORT",
        default_help="this machine",
        group=_MACHINE,
    )
    job_threads: int = option(1, kind=Whole(1, 1024, 2), help="CPU threads of one scoring job", group=_MACHINE)
    job_timeout: int | None = option(
        kind=Whole(1, 10_000_000, 600, "S"),
        help="seconds after which a worker's job is tried again",
        default_help="many times what others took",
        group=_MACHINE,
    )
    method_options: MethodOptions | None = None

    def __post_init__(self) -> None:
        given = cast("object", self.budgets)
        if not isinstance(given, list | tuple):
            raise OptionError(f"budgets must be a list, but got {given!r}: write ['4.2GFLOPs'].")
        object.__setattr__(self, "budgets", tuple(str(budget) for budget in self.budgets))
        if self.method_options is None and self.method in METHODS:
            object.__setattr__(self, "method_options", METHODS[self.method].options_type()())

    @classmethod
    def of(cls, **given: Any) -> SearchOptions:
        """The options given, those of the method among them; a method that is left out follows from these.

        Raises:
            OptionError: If a name is unknown, or an option belongs to another method.
        """
        owners = option_owners()
        known = [*declared(cls), *owners]
        for name in given:
            if name not in known:
                raise OptionError(unknown("option", name, known, most=len(known)))
        if "space" not in given:
            raise OptionError("A search needs a space: give a name such as 'coatnet', or a YAML file.")
        method, own = method_of(given)
        common = {name: value for name, value in given.items() if name not in owners}
        return cls(**{**common, "method": method, "method_options": own})

    def replaced(self, **given: Any) -> SearchOptions:
        """The same options but for those given; those of the method are kept where the method stays."""
        stays = given.get("method", self.method) == self.method
        own = given_options(self.of_method()) if stays else {}
        return type(self).of(**{**{name: getattr(self, name) for name in declared(self)}, **own, **given})

    def of_method(self) -> MethodOptions:
        """The options that belong to the method."""
        assert self.method_options is not None, "an unknown method has no options"
        return self.method_options

    def validate(self) -> None:
        """Checks every option that can be checked without looking at the space, the data or the machine.

        Raises:
            OptionError: One line with the option, its value and what would work, for the first that is wrong.
            BudgetError: The same, for a budget.
        """
        check_values(self)
        if type(self.method_options) is not METHODS[self.method].options_type():
            raise OptionError(
                f"method_options of another method than {self.method} were given: use SearchOptions.of(method=…, …)."
            )
        self.of_method().validate(self)
        if self.ray is not None and self.workers == 0:
            raise OptionError(
                f"--ray {self.ray} --workers 0: workers are what a cluster is for. Leave out one of the two."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON with every option, in the order above; those of the method in a mapping of their own."""
        plain = {name: getattr(self, name) for name in declared(self)}
        plain["budgets"] = list(self.budgets)
        plain["method_options"] = dataclasses.asdict(self.of_method())
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> SearchOptions:
        """The options that `to_dict` wrote, checked.

        Raises:
            OptionError: If a name is unknown, `space` is missing or a value means nothing.
        """
        own = plain.get("method_options", {})
        if not isinstance(own, Mapping):
            raise OptionError(f"method_options must be a mapping, but got {str(own)[:40]!r}.")
        common = {name: value for name, value in plain.items() if name != "method_options"}
        options = cls.of(**{"method": DEFAULT_METHOD, **common, **cast("Mapping[str, Any]", own)})
        options.validate()
        return options

    def command(self, **instead: Any) -> list[str]:
        """What is typed to ask for this search once more: the command, the data and what else is not at its default.

        Args:
            instead: Options that take the place of those given; the run directory is left out.
        """
        asked = self.replaced(**instead) if instead else self
        given = {"space": asked.space, **not_default(asked), "data": asked.data}
        order = [name for name in declared(self) if name in given and name not in ("out", "objective")]
        return [
            "nas-search",
            *words_of({name: given[name] for name in order}),
            *words_of(given_options(asked.of_method())),
        ]
