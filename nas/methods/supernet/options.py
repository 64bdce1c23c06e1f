"""The options of the method `supernet`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from nas.errors import OptionError
from nas.options.declaration import check_values, option
from nas.options.kinds import Choice, Text, Whole, flag
from nas.options.methods import MethodOptions

if TYPE_CHECKING:
    from nas.options.search_options import SearchOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class SupernetOptions(MethodOptions):
    """The supernet's training, and the metric measured with its weights."""

    ranking_uses: ClassVar[frozenset[str]] = frozenset({"data", "supernet", "scorer"})
    ranking_needs_space: ClassVar[bool] = True

    epochs: int | None = option(
        kind=Whole(1, 1_000_000, 30), help="training epochs of the supernet", default_help="planned"
    )
    strategy: str | None = option(
        kind=Choice(("sandwich", "single-path")),
        help="training strategy: four architectures per step (sandwich) or one (single-path)",
        default_help="sandwich if time allows",
    )
    scorer: str = option(
        "accuracy",
        kind=Choice(("accuracy", "loss")),
        help="metric measured with its weights (loss separates networks better on few images)",
    )
    supernet: str | None = option(
        kind=Text("RUN"),
        help="use the trained supernet of RUN instead of training one, and its --data",
    )

    def validate(self, search: SearchOptions) -> None:
        check_values(self)
        for name in ("epochs", "strategy"):
            if self.supernet is not None and getattr(self, name) is not None:
                raise OptionError(
                    f"{flag(name)} {getattr(self, name)} is an option of training a supernet, but that of "
                    f"--supernet {self.supernet} is trained already. Leave out one of the two."
                )

    @property
    def data_run(self) -> str | None:
        return self.supernet
