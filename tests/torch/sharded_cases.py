"""A tiny supernet's training in shards, in this process or as one of a group's."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nas.networks.supernet import Supernet
from nas.progress import Silent
from nas.training import SupernetTraining
from nas.training.sharded import Shards, joined, open_store
from nas.training.threads import threads_set

from .training_cases import Members, recipe, tiny_data, tiny_space


@dataclass
class Trained:
    """What came of a training: per step the published gradients, and rows of its curve."""

    state: dict[str, torch.Tensor] = field(default_factory=dict)
    gradients: list[dict[str, torch.Tensor]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


def train(shards: Shards, *, strategy: str = "sandwich", still: bool = False, folder: Path | None = None) -> Trained:
    """Three epochs of four steps, on batches of twelve images.

    Args:
        still: BatchNorm uses its running statistics, in training too.
    """
    space, found = tiny_space(), Trained()
    supernet = Supernet(space, seed=1)
    if still:
        supernet.train = lambda mode=True: torch.nn.Module.train(supernet, False)  # type: ignore[method-assign]
    publish = supernet.publish_gradients

    def published() -> list[str]:
        names = publish()
        parameters = dict(supernet.named_parameters())
        gradients = {name: parameters[name].grad for name in names}
        found.gradients.append({name: each.clone() for name, each in gradients.items() if each is not None})
        return names

    supernet.publish_gradients = published  # type: ignore[method-assign]
    with threads_set(1):
        training = SupernetTraining(
            supernet, Members(space), tiny_data(), recipe(), strategy=strategy, folder=folder, shards=shards
        )
        training.run(Silent(), lambda row: found.losses.append(row["loss"]))
    found.state = {name: value.clone() for name, value in supernet.state_dict().items()}
    return found


def in_group(folder: Path, *, ranks: int, count: int, **how: Any) -> list[Trained]:
    """Trains in a group of processes on this machine; returns what came of it in each."""
    store, port = open_store("127.0.0.1", ranks, timeout_s=60.0)
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_member, args=(folder, port, rank, ranks, count, how)) for rank in range(1, ranks)]
    for each in others:
        each.start()
    try:
        with joined(store, rank=0, ranks=ranks, device="cpu", timeout_s=60.0):
            first = train(Shards(count, ranks=ranks), **how)
    finally:
        for each in others:
            each.join(60)
            each.kill()
    assert [each.exitcode for each in others] == [0] * (ranks - 1)
    return [first, *(torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(1, ranks))]


def _member(folder: Path, port: int, rank: int, ranks: int, count: int, how: dict[str, Any]) -> None:
    with joined(("127.0.0.1", port), rank=rank, ranks=ranks, device="cpu", timeout_s=60.0):
        found = train(Shards(count, rank=rank, ranks=ranks), **how)
    torch.save(found, folder / f"{rank}.pt")
