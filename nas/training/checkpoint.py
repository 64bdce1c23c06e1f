"""Checkpoints: tensors as safetensors, everything else in the file's JSON header. No pickle, written atomically.

Each carries a digest of itself, which is checked whenever it is read: a damaged one is never gone on from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from nas.errors import RunError
from nas.networks.sealed_file import check_seal, write_sealed
from nas.run import replacing
from nas.run.files import make_folder, remove_leftovers
from nas.training.lars import MOMENTUM

BEST = "best.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq", MOMENTUM)


def save_checkpoint(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    facts: dict[str, Any],
    *,
    average: nn.Module | None = None,
) -> None:
    """Writes a module's state, the optimizer's moments, an average of the state and plain JSON `facts` to one file.

    Raises:
        RunError: If the folder cannot be written to or the disk is full; an earlier file stays.
    """
    tensors = {f"model/{name}": value for name, value in module.state_dict().items()}
    if average is not None:
        tensors |= {f"average/{name}": value for name, value in average.state_dict().items()}
    steps: dict[str, float] = {}
    if optimizer is not None:
        for name, parameter in module.named_parameters():
            state = optimizer.state.get(parameter)
            if state:
                steps[name] = float(state["step"])
                tensors |= {f"{moment}/{name}": state[moment] for moment in _MOMENTS if moment in state}
    header = {"facts": json.dumps(facts, allow_nan=False), "steps": json.dumps(steps)}
    make_folder(path.parent)
    with replacing(path) as temporary:
        write_sealed(temporary, tensors, header)


def size_on_disk(module: nn.Module, *, moments: int) -> int:
    """Bytes that a checkpoint takes at most.

    Args:
        module: May be on meta.
        moments: What the optimizer keeps of each weight: two tensors for AdamW, one for LARS, none without it.
    """
    state = module.state_dict()
    data = sum(value.numel() * value.element_size() for value in state.values())
    learning = (p for p in module.parameters() if p.requires_grad)
    data += sum(moments * p.numel() * p.element_size() for p in learning)
    return data + 1000 * len(state) + 100_000


def read_facts(path: Path) -> dict[str, Any]:
    """The JSON facts of a checkpoint, without its tensors.

    Raises:
        RunError: If the file is not a checkpoint of ours, or has changed since it was written.
    """
    try:
        check_seal(path.resolve())  # data version control keeps links
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {})["facts"])
    except OSError as fault:
        reason = (fault.strerror or str(fault)).lower()
        raise RunError(f"Cannot read {path}: {reason}. Try again, or delete it to train again.") from fault
    except (SafetensorError, KeyError, ValueError) as fault:
        raise RunError(f"{path} is not a checkpoint: {str(fault)[:120]}. Delete it to train again.") from None


def load_checkpoint(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    average: nn.Module | None = None,
) -> dict[str, Any]:
    """Copies a checkpoint into a module (and an optimizer over its parameters) in place; returns its facts.

    Args:
        average: Receives the average of the state, where the file has one: that of an ended training has none.

    Raises:
        RunError: If the file is not a checkpoint, has changed since it was written, or belongs to another network.
    """
    facts = read_facts(path)
    with safe_open(path, framework="pt") as file, torch.no_grad():
        steps: dict[str, float] = json.loads((file.metadata() or {})["steps"])
        state = module.state_dict()
        _check_same(path, state, {key: list(file.get_slice(key).get_shape()) for key in file.keys()})  # noqa: SIM118
        for name, value in state.items():
            value.copy_(file.get_tensor(f"model/{name}"))
        stored_names = {*file.keys()}
        for name, value in average.state_dict().items() if average is not None else ():
            if f"average/{name}" in stored_names:
                value.copy_(file.get_tensor(f"average/{name}"))
        if optimizer is not None:
            for name, parameter in module.named_parameters():
                if name in steps:
                    # Fused AdamW keeps its step count beside the weights.
                    state: dict[str, Any] = {"step": torch.tensor(steps[name], device=parameter.device)}
                    for moment in (each for each in _MOMENTS if f"{each}/{name}" in stored_names):
                        stored = file.get_tensor(f"{moment}/{name}")
                        state[moment] = torch.empty_like(parameter).copy_(stored)
                    optimizer.state[parameter] = state
    return facts


def _check_same(path: Path, state: dict[str, torch.Tensor], stored: dict[str, list[int]]) -> None:
    """Refuses a checkpoint of another network, before anything of it is copied."""
    shapes = {f"model/{name}": list(value.shape) for name, value in state.items()}
    found = {key: shape for key, shape in stored.items() if key.startswith("model/")}
    differing = sorted(key for key in {*shapes, *found} if shapes.get(key) != found.get(key))
    if differing:
        name = differing[0].removeprefix("model/")
        raise RunError(f"{path} belongs to another network: {name} differs. Delete it to train again.")


def newest(folder: Path) -> Path | None:
    """The last checkpoint in a folder that can be read; unreadable ones are passed over."""
    return newest_readable(folder)[0]


def newest_readable(folder: Path) -> tuple[Path | None, list[Path]]:
    """The last checkpoint in a folder that can be read, and the later ones that cannot, last first."""
    unreadable: list[Path] = []
    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        try:
            read_facts(path)
        except RunError:
            unreadable.append(path)
            continue
        return path, unreadable
    return None, unreadable


def check_damaged(paths: Iterable[Path]) -> None:
    """Checks that files that cannot be read are damaged, so that a training may go on without them.

    Raises:
        RunError: If the system does not let one be read. It may be whole, and another try may read it.
    """
    for path in paths:
        try:
            read_facts(path)
        except RunError as fault:
            if isinstance(fault.__cause__, OSError):
                raise


def prune(last: Path, keep: int = 2) -> None:
    """Deletes all but the last `keep` checkpoints and the best, and what an interrupted write left behind.

    Args:
        last: The newest that can be read. Those of later steps cannot, and are deleted first.
    """
    paths = sorted(last.parent.glob("step-*.safetensors"))
    readable = [path for path in paths if path.name <= last.name]
    for path in paths:
        if path not in readable[-keep:]:
            path.unlink(missing_ok=True)
    remove_leftovers(last.parent.glob(".*.tmp*"))
