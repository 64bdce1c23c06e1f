"""Registration of our networks as timm models."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from nas.architecture import Architecture
from nas.errors import ExportError, OptionError
from nas.networks.loading import is_digest_of, load_architecture
from nas.networks.network import Network, resize_tables
from nas.networks.timm import registered
from nas.networks.timm.converting import IMAGENET
from nas.networks.timm.library import timm_module
from nas.networks.timm.timm_model import TimmModel
from nas.networks.timm.timm_network import TimmNetwork
from nas.ops import normalize
from nas.spaces.catalog import zoo_names

CONFIG, WEIGHTS = "architecture.yaml", "weights.safetensors"


def to_timm(source: str | Path | Architecture, *, name: str | None = None) -> str:
    """Registers a network with timm, whose `create_model` and training script then take it.

    Models made from it have `num_classes`, `forward_features`, `forward_head`, `reset_classifier`, `feature_info` and
    `default_cfg`, and go with `features_only`. Of a winner, `pretrained=True` loads the weights. timm's training
    script is another program; this runs it with a network of ours:

        import nas, runpy, sys
        sys.argv += ["--model", nas.to_timm("levit_256"), "--data-dir", "path/to/images"]
        runpy.run_path("train.py", run_name="__main__")

    Args:
        source: A zoo name, the folder of a winner, the path of an architecture, or an architecture.
        name: What timm shall call it; by default "nas_" and the zoo name, or the architecture's digest.

    Returns:
        The name.

    Raises:
        OptionError: If timm is not installed or cannot be imported, or has another model of that name.
        ArchitectureError: If there is no such network, or it cannot be built.
        ExportError: If the folder's weights are not its network's.
    """
    models, is_ours = timm_module("timm.models", purpose="nas.to_timm"), registered.default_cfgs
    architecture, found = _read(source)
    if name is None:
        name = f"nas_{source if source in zoo_names() else found.get('digest', architecture.digest)}"
    if not name.isidentifier():
        raise OptionError(f"name (={name!r}) must be letters, digits and underscores, as timm's names are.")
    if models.is_model(name) and name not in is_ours:
        raise OptionError(f"timm has a model {name!r} of its own; give another name, such as 'nas_{name}'.")
    with torch.device("meta"):
        network = TimmNetwork(architecture)
    registered.default_cfgs[name] = default_cfg(network, architecture, found)
    with warnings.catch_warnings():
        # A second call may register the same name again.
        warnings.filterwarnings("ignore", message="Overwriting", category=UserWarning)
        models.register_model(_entrypoint(name, architecture))
    return name


def _read(source: str | Path | Architecture) -> tuple[Architecture, dict[str, Any]]:
    """Returns an architecture at the resolution of its weights, and the facts on record about them."""
    if isinstance(source, Architecture):
        return normalize(source), {}
    folder = Path(source)
    if str(source) in zoo_names() or not folder.is_dir():
        return load_architecture(source), {}
    if not (folder / CONFIG).is_file():
        raise OptionError(f"{folder} holds no {CONFIG}, so it is no winner's folder.")
    architecture = load_architecture(folder / CONFIG)
    weights = folder / WEIGHTS
    if not weights.is_file():
        return architecture, {}
    try:
        with safe_open(weights, "pt") as file:
            said = file.metadata() or {}
        if not is_digest_of(said["architecture"], architecture, folder / CONFIG):
            raise ExportError(f"{weights} holds the weights of another network than {CONFIG}.")
        found = {key: json.loads(said[key]) for key in ("trained_resolution", "mean", "std", "class_names")}
    except (OSError, SafetensorError, ValueError, KeyError) as fault:
        reason = " ".join(str(fault).split())[:200]
        raise ExportError(f"{folder} holds no network that was exported whole: {reason}") from fault
    found |= {"digest": architecture.digest, "file": str(weights.absolute())}
    return architecture.at_resolution(found["trained_resolution"]), found


def default_cfg(network: TimmModel, architecture: Architecture, found: dict[str, Any]) -> dict[str, Any]:
    """Returns timm's default_cfg of a model.

    Args:
        architecture: At the resolution of the weights.
        found: The `file` of the weights, `mean`, `std` and `class_names`, where they are known.
    """
    size, channels = architecture.input.resolution, architecture.input.channels
    linears, first = [], []
    for path, module in network.named_modules():
        if any(module is linear for head in network.classifiers() for linear in (head.linear, *head.others)):
            linears.append(path)
        if path.startswith("stem") and isinstance(module, nn.Conv2d) and module.in_channels == channels:
            first.append(path)
    cfg: dict[str, Any] = {
        "file": found.get("file"),
        "input_size": (channels, size, size),
        "fixed_input_size": True,
        "num_classes": architecture.num_classes,
        "mean": tuple(found.get("mean") or (IMAGENET[0] if channels == 3 else (0.5,) * channels)),
        "std": tuple(found.get("std") or (IMAGENET[1] if channels == 3 else (0.5,) * channels)),
        # Winners are trained on whole images.
        "crop_pct": 1.0 if found else 0.9,
        "interpolation": "bilinear" if found else "bicubic",
        "pool_size": None,
        "first_conv": _one_or_all(first),
        "classifier": _one_or_all(linears),
    }
    if found.get("class_names"):
        cfg["label_names"] = tuple(found["class_names"])
    return cfg


def _one_or_all(names: list[str]) -> str | tuple[str, ...] | None:
    return names[0] if len(names) == 1 else tuple(names) or None


def _entrypoint(name: str, architecture: Architecture) -> Callable[..., nn.Module]:
    """Returns the function that timm calls to create a model."""

    def create(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        from timm.models import build_model_with_cfg

        def build(**options: Any) -> TimmNetwork:
            return TimmNetwork(architecture, **options)

        return build_model_with_cfg(
            build,
            name,
            pretrained,
            pretrained_filter_fn=_fitted,
            feature_cfg={"feature_cls": "getter", "out_indices": tuple(range(len(architecture.stages)))},
            **kwargs,
        )

    create.__name__ = create.__qualname__ = name
    create.__module__ = registered.__name__
    return create


def _fitted(state: dict[str, torch.Tensor], network: Network) -> dict[str, torch.Tensor]:
    return resize_tables(state, network)
