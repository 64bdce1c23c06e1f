"""The options of the method `supernet`."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from nas.errors import OptionError
from nas.options.declaration import check_values, not_default, option
from nas.options.kinds import Choice, Switch, Text, Whole, flag
from nas.options.methods import MethodOptions
from nas.spaces import SearchSpace, catalog

if TYPE_CHECKING:
    from nas.options.search_options import SearchOptions

_MAGNITUDE = "magnitude"


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
    shards: int | None = option(
        kind=Whole(1, 1024, 2),
        help="parts of each training batch, which workers compute side by side; BatchNorm sees one part at a time",
        default_help="as many as --workers, of 16 images or more",
    )
    scorer: str = option(
        "accuracy",
        kind=Choice(("accuracy", "loss")),
        help="metric measured with the supernet's weights (loss separates networks better on few images)",
    )
    supernet: str | None = option(
        kind=Text("RUN"),
        help="use the trained supernet of RUN instead of training one, and its --data",
    )

    parent: str | None = option(
        kind=Text("CONFIG"),
        help="begin with a trained network and search its parts: a winner's folder, a zoo name, a file, or timm:NAME",
    )
    weights: str | None = option(
        kind=Text("FILE"),
        help="weights of the --parent, a .safetensors file",
        default_help="those of its folder or of timm",
    )
    parent_is_tuned: bool = option(
        False, kind=Switch(), help="the --parent was trained on these data: do not fine-tune it first"
    )
    parent_epochs: int | None = option(
        kind=Whole(1, 1_000_000, 10), help="fine-tuning epochs of the --parent", default_help="planned"
    )
    layer_epochs: int | None = option(
        kind=Whole(0, 1_000_000, 5),
        help="epochs in which layers of the --space that the --parent lacks learn to reproduce its stages, before the "
        "supernet is trained; 0 skips this",
        default_help="planned",
    )
    importance: str = option(
        _MAGNITUDE,
        kind=Choice((_MAGNITUDE, "taylor")),
        help="which of the --parent's channels smaller networks keep: those of the largest weights (magnitude), or of "
        "the largest weights times gradients (taylor)",
    )

    def validate(self, search: SearchOptions) -> None:
        check_values(self)
        for name in ("weights", "parent_epochs", "layer_epochs", "parent_is_tuned", "importance"):
            if self.parent is None and name in not_default(self):
                raise OptionError(f"{flag(name)} is an option of --parent, which is missing: give it, or leave it out.")
        if self.parent is not None and self.supernet is not None:
            raise OptionError(
                f"--supernet {self.supernet} is trained already, so that --parent {self.parent} has nothing to begin. "
                "Leave out one of the two."
            )
        if self.parent is not None and self.strategy == "single-path":
            raise OptionError("--strategy single-path does not learn from a --parent: leave out one of the two.")
        if self.parent_is_tuned and self.parent_epochs is not None:
            raise OptionError("--parent-is-tuned leaves out what --parent-epochs is for: leave out one of the two.")
        for name in ("epochs", "strategy", "shards"):
            if self.supernet is not None and getattr(self, name) is not None:
                raise OptionError(
                    f"{flag(name)} {getattr(self, name)} is an option of training a supernet, but that of "
                    f"--supernet {self.supernet} is trained already. Leave out one of the two."
                )

    def absolute(self) -> SupernetOptions:
        # A zoo name stays one where the current folder has something of that name, as it was read.
        parent = self.parent if self.parent in catalog.zoo_names() else _absolute(self.parent)
        return replace(self, parent=parent, weights=_absolute(self.weights))

    @property
    def derives_from(self) -> str | None:
        return self.parent

    def derived_space(self) -> SearchSpace | None:
        if self.parent is None:
            return None
        from nas.methods.supernet.parent import space_of_parts

        return space_of_parts(self.parent)

    @property
    def data_run(self) -> str | None:
        return self.supernet


def _absolute(path: str | None) -> str | None:
    """Returns the absolute path of a file or folder; names that are none stay."""
    return os.path.abspath(path) if path is not None and os.path.exists(path) else path
