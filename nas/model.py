"""A network built from an architecture: the grammar of stages, layers and residual branches as modules.

`Network` reads plain dictionaries, so that its source, copied into an exported `model.py`, needs nothing else of this
package.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nas.architecture import Architecture
from nas.errors import ArchitectureError
from nas.ops.spec import Shape, make


class Residual(nn.Module):
    """One branch of a layer: `shortcut(x) + scale * mixer(norm(x))`."""

    def __init__(self, config: dict[str, Any], shape: Shape) -> None:
        super().__init__()
        self.norm = make(config["norm"], shape) if config.get("norm") else nn.Identity()
        self.mixer = make(config["mixer"], shape)
        self.shortcut = make(config["shortcut"], shape) if config.get("shortcut") else nn.Identity()
        self.shape: Shape = self.mixer.shape
        joined = getattr(self.shortcut, "shape", shape)
        plain = (config.get("shortcut") or {}).get("op") == "none"
        if not plain and tuple(joined) != tuple(self.shape):
            raise ArchitectureError(
                f"{config['mixer']['op']} gives {tuple(self.shape)} (channels, height, width) but its shortcut gives "
                f"{tuple(joined)}: give the branch a shortcut that changes both alike, such as pool_project."
            )
        scale = config.get("scale")
        self.scale = nn.Parameter(torch.full((self.shape.channels,), scale)) if scale else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.mixer(self.norm(x))
        if self.scale is not None:
            y = y * self.scale[:, None, None]
        return self.shortcut(x) + y


class Layer(nn.Sequential):
    """Residual branches applied one after another."""

    def __init__(self, config: dict[str, Any], shape: Shape) -> None:
        branches = []
        for branch in config["branches"]:
            branches.append(Residual(branch, shape))
            shape = branches[-1].shape
        super().__init__(*branches)
        self.shape = shape


class Stage(nn.Module):
    """An optional transition to a new resolution or width, then layers."""

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


class Network(nn.Module):
    """A whole classifier: (B, channels, resolution, resolution) -> (B, num_classes).

    Args:
        config: An architecture as plain data (`Architecture.to_dict()`).
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        size = config["input"]["resolution"]
        shape = Shape(config["input"]["channels"], size, size)
        self.stem = make(config["stem"], shape)
        shape = self.stem.shape
        stages = []
        for i, stage in enumerate(config["stages"]):
            try:
                stages.append(Stage(stage, shape))
            except ArchitectureError as fault:
                raise ArchitectureError(f"stages[{i}] (input {tuple(shape)}): {fault}") from None
            shape = stages[-1].shape
        self.stages = nn.ModuleList(stages)
        self.head = make(config["head"], shape)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """The feature map before the head: (B, C, H, W)."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.forward_features(x))


def resize_tables(state: dict[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """A state dict fitted to a network for another resolution: its position tables are resized bilinearly."""
    fitted = dict(state)
    for name, parameter in network.named_parameters():
        found = state.get(name)
        if found is not None and name.endswith(".table") and found.shape != parameter.shape:
            fitted[name] = F.interpolate(found[None], parameter.shape[1:], mode="bilinear", align_corners=True)[0]
    return fitted


def build(architecture: Architecture) -> Network:
    """The network that an architecture describes, with fresh weights, in channels_last memory format.

    Returns:
        A plain `nn.Module`: (B, channels, resolution, resolution) -> (B, num_classes).

    Raises:
        ArchitectureError: If its stages do not fit one another.
    """
    network = Network(architecture.to_dict())
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]: not in torch's stubs
