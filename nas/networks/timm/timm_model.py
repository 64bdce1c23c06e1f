"""Networks with the methods that timm's factory, feature extraction and training script need of a model.

They have the parameters of `nas.networks.network.Network` under the same names, so that weights go either way. Nothing
here needs timm, and all of it can be copied into an exported `timm_model.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from nas.errors import OptionError
from nas.networks.network import Network
from nas.networks.residual_branches import residual_branches
from nas.networks.weight_decay import no_weight_decay
from nas.ops.head import Classifier
from nas.ops.spec import Shape
from nas.ops.tokens import map_of

Indices = int | Sequence[int] | None


class TimmModel(Network):
    """Classifier with timm's interface: (B, in_chans, img_size, img_size) -> (B, num_classes).

    Args:
        config: An architecture as plain data (`Architecture.to_dict()`).
        num_classes: None for the architecture's; 0 for none, and features (B, head_hidden_size) instead of logits.
        drop_rate: Of what the classifier reads.
        drop_path_rate: Of the last layer's residual branches (arXiv:1603.09382); rising linearly from none.
    """

    def __init__(
        self,
        config: dict[str, Any],
        *,
        num_classes: int | None = None,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(config)
        size = self.image_shape[1]
        self.drop_rate, self.grad_checkpointing = drop_rate, False
        self.num_classes: int = self.classifiers()[0].linear.out_features
        self._widths: list[int] = [head.linear.in_features for head in self.classifiers()]
        shapes: list[Shape] = [stage.shape for stage in self.stages]  # type: ignore[misc]
        self.num_features = (shapes[-1] if shapes else self.stem.shape).channels
        self.head_hidden_size = self._widths[0]
        self.feature_info = [
            {"num_chs": shape.channels, "reduction": round(size / shape.height), "module": f"stages.{i}"}
            for i, shape in enumerate(shapes)
        ]
        self._drop_paths(drop_path_rate)
        self._drop_features()
        if num_classes is not None and num_classes != self.num_classes:
            self.reset_classifier(num_classes)

    def classifiers(self) -> list[Any]:
        """Returns the classifiers of the head, several for parallel streams."""
        return [module for module in self.head.modules() if isinstance(module, Classifier)]

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the last stage's output: (B, C, H, W), or with tokens (B, C, T + H * W, 1)."""
        x = self.stem(x)
        for stage in self.stages:
            x = self._run(stage, x)
        return x

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Returns logits of the output of `forward_features`, or its input (B, C) with `pre_logits`."""
        if not pre_logits:
            return self.head(x)
        if not isinstance(self.head, Classifier):
            raise OptionError("pre_logits: a network of parallel streams has several classifiers; use its logits.")
        features = self.head.features(x)
        return features[0] if len(features) == 1 else torch.stack(features).mean(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: torch.Tensor,
        indices: Indices = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Returns the last stage's output and the maps (B, C, H, W) of some stages, without their tokens.

        Args:
            indices: Of stages; the last so many for a number, all for None.
            norm: Has no effect: networks here have no norm between the last stage and the head.
            intermediates_only: Only the list of maps.
        """
        if output_fmt != "NCHW":
            raise OptionError(f"output_fmt must be 'NCHW', not {output_fmt!r}: features are maps.")
        wanted = taken(len(self.stages), indices)
        maps: list[torch.Tensor] = []
        x = self.stem(x)
        for i, stage in enumerate(self.stages):
            if stop_early and i > max(wanted):
                break
            x = self._run(stage, x)
            if i in wanted:
                maps.append(self._map(stage, x))
        return maps if intermediates_only else (x, maps)

    def prune_intermediate_layers(
        self, indices: Indices = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drops the stages after the last wanted one, and the head; returns the indices that stay."""
        wanted = taken(len(self.stages), indices)
        self.stages = self.stages[: max(wanted) + 1]
        if prune_head:
            self.head, self.num_classes = nn.Identity(), 0
        return wanted

    def get_classifier(self) -> nn.Module:
        """Returns the linear map that computes the logits, or the head if it has several."""
        linears = [linear for head in self.classifiers() for linear in (head.linear, *head.others)]
        return linears[0] if len(linears) == 1 else self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replaces the linear maps by new ones for another number of classes; 0 for none."""
        if global_pool is not None:
            raise OptionError(f"global_pool (={global_pool!r}) cannot be chosen: the head pools in its own way.")
        heads = self.classifiers()
        if num_classes == 0 and heads != [self.head]:
            raise OptionError("num_classes=0: a network of parallel streams has several classifiers; give it classes.")
        place = next(self.parameters())
        for head, width in zip(heads, self._widths, strict=True):
            fresh: list[nn.Module] = [
                nn.Linear(width, num_classes, device=place.device, dtype=place.dtype) if num_classes else nn.Identity()
                for _ in range(1 + len(head.others))
            ]
            head.linear, head.others = fresh[0], nn.ModuleList(fresh[1:])
        self.num_classes = num_classes
        self._drop_features()

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Sets whether stages are recomputed in the backward pass, to save memory."""
        self.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Returns regular expressions that group parameters by depth, for layer-wise learning rate decay."""
        if coarse:
            return {"stem": r"^stem", "blocks": [(r"^stages\.(\d+)", None), (r"^head", (99999,))]}
        blocks = [(r"^stages\.(\d+)\.transition", (0,)), (r"^stages\.(\d+)\.layers\.(\d+)", None), (r"^head", (99999,))]
        return {"stem": r"^stem", "blocks": blocks}

    def no_weight_decay(self) -> set[str]:
        """Returns the names of the parameters that do not decay in our own trainings either."""
        return no_weight_decay(self)

    def _run(self, stage: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if self.grad_checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(stage, x, use_reentrant=False)  # type: ignore[return-value]
        return stage(x)

    def _map(self, stage: Any, x: torch.Tensor) -> torch.Tensor:
        if stage.shape.streams:
            raise OptionError("features: a network of parallel streams has no one map per stage.")
        return map_of(x, stage.shape)

    def _drop_features(self) -> None:
        for head in self.classifiers() if self.drop_rate else ():
            for linear in (head.linear, *head.others):
                linear.register_forward_pre_hook(Dropped(self.drop_rate))

    def _drop_paths(self, rate: float) -> None:
        for depth, branch in residual_branches(self.stages):
            if rate * depth:
                branch.mixer.register_forward_hook(DroppedPath(rate * depth))


class Dropped:
    """Dropout of a module's input."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (F.dropout(inputs[0], self.rate, module.training), *inputs[1:])


class DroppedPath:
    """Stochastic depth of a module's output: zero for some images of a batch, scaled up for the others."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor | None:
        if not module.training or output.ndim == 0:
            return None
        kept = output.new_empty(output.shape[0], *[1] * (output.ndim - 1)).bernoulli_(1 - self.rate)
        return output * kept.div_(1 - self.rate)


def square(size: int | tuple[int, int]) -> int:
    """Returns the side of square images.

    Raises:
        OptionError: If they are not square.
    """
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1:
        raise OptionError(f"img_size (={size}) must be square.")
    return sides.pop()


def taken(count: int, indices: Indices) -> list[int]:
    """Returns indices of stages without negative ones.

    Raises:
        OptionError: If there is no such stage.
    """
    if indices is None:
        return list(range(count))
    wanted = list(range(count - indices, count)) if isinstance(indices, int) else [*indices]
    for i in wanted:
        if not -count <= i < count:
            raise OptionError(f"out_indices: there is no stage {i}; stages are 0 to {count - 1}.")
    return [i % count for i in wanted]
