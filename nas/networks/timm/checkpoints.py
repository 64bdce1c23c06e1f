"""Files of trained weights from elsewhere, converted once to safetensors under our names."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from nas.errors import ArchitectureError, OptionError, RunError
from nas.networks.loading import load_architecture
from nas.networks.sealed_file import metadata_of, write_sealed
from nas.networks.timm.converting import Numbers
from nas.networks.timm.weights import FAMILIES, family_of, network_with
from nas.registry import unknown
from nas.run.files import expanded, file_digest, replacing
from nas.spaces.catalog import zoo_names
from nas.version import __version__

# What training scripts wrap a state dict in.
_WRAPPERS = ("state_dict", "model")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedWeights:
    """What `convert_weights` wrote.

    Attributes:
        path: The .safetensors file.
        network: The zoo's name.
        params: Parameters, without BatchNorm's statistics.
        classes: Of the classifier.
        mean, std: Per channel, what images in 0 to 1 are normalized by.
    """

    path: Path
    network: str
    params: int
    classes: int
    mean: Numbers
    std: Numbers


def convert_weights(
    source: str | Path,
    network: str,
    out: str | Path,
    *,
    num_classes: int | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
) -> ConvertedWeights:
    """Writes timm's weights of a network, or a port's, as safetensors under our parameters' names.

    The metadata have `network`, `architecture` (its digest), `classes`, `trained_resolution` (the image side that its
    position tables are for, else the zoo's), `source` (name and SHA-256 of the file), `mean` and `std`, each value as
    JSON but for the first two.

    Args:
        source: A state dict saved by `torch.save`, alone or under "state_dict" or "model", or a .safetensors file. It
            is loaded with `weights_only=True`, so that no code in it runs.
        network: The zoo's name.
        out: The .safetensors file to write; one that is there is replaced.
        num_classes: Classes of the weights; None for the zoo's.
        mean, std: Per channel, what images in 0 to 1 were normalized by; None for those of timm's weights.

    Raises:
        ArchitectureError: If there is no such network, or no weights are known to fit it.
        OptionError: If `out` is not named .safetensors, or is the source.
        RunError: If the file cannot be read, holds code or numbers that are not finite, or is another network's.
    """
    source, out = Path(expanded(source)), Path(expanded(out))
    if network not in zoo_names():
        raise ArchitectureError(unknown("zoo network", network, zoo_names(), most=6))
    family = family_of(network)
    if family is None:
        known = sorted({name for each in FAMILIES for name in each.names.values()})
        raise ArchitectureError(
            f"No weights from elsewhere are known to fit {network}; for {len(known)} they are: such "
            f"as {', '.join(known[:6])}."
        )
    if out.suffix != ".safetensors" or out.absolute() == source.absolute():
        raise OptionError(f"--out (={out}) must be another file, whose name ends in .safetensors.")
    state = read_checkpoint(source)
    if "network" in metadata_of(source):
        raise RunError(f"{source} is converted already: give it by --weights.")
    try:
        found = network_with(family, network, state, network)
    except RunError as fault:
        said = f"{source}: {fault}"
        raise RunError(f"{said} `nas zoo` lists the networks: give --network the one that it is of.") from None
    architecture = load_architecture(network)
    wanted = num_classes or architecture.num_classes
    classes = family.classes(family.as_timm(state)) or architecture.num_classes
    if classes != wanted:
        raise RunError(
            f"{source} has {classes} classes, not {wanted}: give --num-classes {classes} if these are the weights."
        )
    metadata: dict[str, Any] = {
        "classes": classes,
        "trained_resolution": found.image_shape[1],
        "source": {"file": source.name, "sha256": file_digest(source)},
        "mean": mean or family.normalized_by(network)[0],
        "std": std or family.normalized_by(network)[1],
    }
    named = {"network": network, "architecture": architecture.with_classes(classes).digest}
    said = {"format": "pt", "hybrid_nas": __version__, **named, **{key: json.dumps(v) for key, v in metadata.items()}}
    with replacing(out) as path:
        write_sealed(path, found.state_dict(), said)
    return ConvertedWeights(
        path=out,
        network=network,
        params=sum(parameter.numel() for parameter in found.parameters()),
        classes=classes,
        mean=metadata["mean"],
        std=metadata["std"],
    )


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Returns the state dict in a file, its floating-point numbers as float32.

    Raises:
        RunError: If it cannot be read without running code in it, or holds no finite state dict.
    """
    state = {name.removeprefix("module."): tensor for name, tensor in _state_dict(_loaded(path), path).items()}
    for name, tensor in state.items():
        count = int((~tensor.isfinite()).sum()) if tensor.is_floating_point() else 0
        if count:
            raise RunError(
                f"{path}: weights must be finite, but {count:,} of the {tensor.numel():,} numbers of {name} are NaN or "
                "infinite. Give weights from before the training diverged."
            )
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def _loaded(path: Path) -> Any:
    if not path.is_file():
        raise RunError(f"Cannot read weights from {path}: there is no such file. Give the path of a .pth file.")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as fault:
            raise RunError(f"Cannot read weights from {path}: {str(fault)[:120]}. Download it again.") from None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as fault:
        blamed = re.search(r"GLOBAL ([\w.]+)", str(fault))
        if blamed is None:
            raise RunError(
                f"Cannot read weights from {path}: it is damaged, or torch.save did not write it. Give a state dict "
                "saved by torch.save(model.state_dict(), FILE), or a .safetensors file."
            ) from None
        raise RunError(
            f"{path} must hold tensors alone, but has the Python object {blamed[1]}, whose code would run when it is "
            "loaded. Where you trust it, save the tensors and convert those: torch.save(model.state_dict(), FILE)."
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as fault:
        reason = " ".join(str(fault).split())[:120]
        raise RunError(f"Cannot read weights from {path}: {reason}. Give a file written by torch.save.") from None


def _state_dict(found: Any, path: Path) -> dict[str, torch.Tensor]:
    for key in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found:
        raise RunError(f"{path} must hold a state dict, not {type(found).__name__}: save model.state_dict().")
    strange = [str(name) for name, value in found.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise RunError(
            f"{path} must hold a state dict, alone or under one of {_WRAPPERS}, but {strange[0][:60]!r} in it is no "
            "tensor: save model.state_dict()."
        )
    return {str(name): value for name, value in found.items()}
