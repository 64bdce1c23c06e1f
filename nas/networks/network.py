"""Networks built from architectures: the grammar of stages, layers and residual branches as modules.

`Network` reads plain dictionaries, so that its source, copied into an exported `model.py`, needs nothing else of this
package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from nas.architecture import Architecture, BlockConfig, BranchConfig, LayerConfig, StageConfig
from nas.errors import ArchitectureError
from nas.ops.combine import Residual
from nas.ops.spec import Shape, make


class Layer(nn.Sequential):
    """Residual branches applied one after another."""

    def __init__(self, config: dict[str, Any], shape: Shape) -> None:
        branches = []
        for branch in config["branches"]:
            branches.append(Residual(Residual.Config(**branch), shape))
            shape = branches[-1].shape
        super().__init__(*branches)
        self.shape = shape


class Stage(nn.Module):
    """Layers after an optional transition to a new resolution or width."""

    def __init__(self, config: dict[str, Any], shape: Shape) -> None:
        super().__init__()
        self.transition = make(config["transition"], shape) if config.get("transition") else nn.Identity()
        shape = getattr(self.transition, "shape", shape)
        layers = []
        for layer in config["layers"]:
            for _ in range(layer.get("repeat", 1)):
                layers.append(Layer(layer, shape))
                shape = layers[-1].shape
        self.layers = nn.Sequential(*layers)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(self.transition(x))


def make_part(config: BlockConfig | BranchConfig | LayerConfig | StageConfig, shape: Shape) -> Any:
    """Builds a part of a network, with fresh weights on torch's current default device, for inputs of `shape`.

    Returns:
        A module with the `shape` of its output.
    """
    data = config.to_dict()
    if isinstance(config, StageConfig):
        return Stage(data, shape)
    if isinstance(config, LayerConfig):
        return Layer(data, shape)
    return make({"op": "residual", **data} if isinstance(config, BranchConfig) else data, shape)


def shape_after(config: BlockConfig | BranchConfig | LayerConfig | StageConfig, shape: Shape) -> Shape:
    """Returns the shape that a part of a network makes of `shape`; the part gets no memory and does not run."""
    with torch.device("meta"):
        return make_part(config, shape).shape


def placed(name: str, builder: Callable[[dict[str, Any], Shape], Any], config: dict[str, Any], shape: Shape) -> Any:
    """Returns what `builder` makes; its error names the part of the network and the shape of its input."""
    try:
        return builder(config, shape)
    except ArchitectureError as fault:
        raise ArchitectureError(f"{name} (its input {'x'.join(map(str, shape[:3]))}): {fault}") from None


def input_remedy(given: tuple[int, ...], built: tuple[int, int, int]) -> str:
    """Returns what to do with an input of shape `given` that a network built for images `built` (C, R, R) refuses."""
    channels, size, _ = built
    if len(given) != 4:
        return "give a batch, such as images[None] for one image"
    if given[1] != channels:
        return f"give images of {channels} channel{'s' * (channels != 1)}"
    if given[2] != given[3]:
        return f"cut out a square and resize it to {size}x{size}"
    return f"resize the images, or build the network for resolution {given[2]}"


class Network(nn.Module):
    """Classifier built from an architecture: (B, channels, resolution, resolution) -> (B, num_classes).

    Many networks take images of other sizes as well; one that cannot raises `ArchitectureError`.

    Args:
        config: An architecture as plain data (`Architecture.to_dict()`).
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        size = config["input"]["resolution"]
        shape = Shape(config["input"]["channels"], size, size)
        self.image_shape = (shape.channels, size, size)
        self.stem = placed("stem", make, config["stem"], shape)
        shape = self.stem.shape
        stages = []
        for i, stage in enumerate(config["stages"], start=1):
            stages.append(placed(f"stage {i}", Stage, stage, shape))
            shape = stages[-1].shape
        self.stages = nn.ModuleList(stages)
        self.head = placed("head", make, config["head"], shape)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the feature map before the head: (B, C, H, W)."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        try:
            return self.head(self.forward_features(x))
        except (RuntimeError, ValueError, IndexError) as fault:
            given = tuple(x.shape)
            if given[1:] == self.image_shape:
                raise
            wanted = ", ".join(map(str, self.image_shape))
            raise ArchitectureError(
                f"The network was built for images of shape (batch, {wanted}), not {given}: "
                f"{input_remedy(given, self.image_shape)}."
            ) from fault


def resize_tables(state: dict[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """Returns a state dict for another resolution, in which each module resizes its own position tables."""
    fitted = dict(state)
    for path, module in network.named_modules():
        resize = getattr(module, "resized", None)
        for own, parameter in module.named_parameters(recurse=False):
            name = f"{path}.{own}"
            found = state.get(name)
            if resize is not None and found is not None and found.shape != parameter.shape:
                fitted[name] = resize(own, found)
    return fitted


def build(architecture: Architecture) -> Network:
    """Builds the network that an architecture describes, with fresh weights, in channels_last memory format.

    Returns:
        A plain `nn.Module`: (B, channels, resolution, resolution) -> (B, num_classes).

    Raises:
        ArchitectureError: If its stages do not fit one another.
    """
    network = Network(architecture.to_dict())
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]: not in torch's stubs
