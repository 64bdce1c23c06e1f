"""Batches in shards that any number of processes compute, with the same result.

Every step's batch is divided into a fixed number of shards. A step's gradient is the mean of the shards' gradients,
weighted by their numbers of images, and is reduced once per step. It does not depend on the number of processes, since
shards are added in their order, whoever computed them; `all_reduce` would add them in an order of its own. Gradients
that are reduced by hooks (DistributedDataParallel) suit networks whose weights all take part in each step, which shared
weights do not.

BatchNorm normalizes each shard by the shard's own statistics. The running statistics after a step are those before it
plus the weighted mean of what the shards changed of them; every shard begins a step with the same ones. Where they are
an exponential average, that is the average of the shards' means and variances.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F

from nas.networks.shared_weights import SharedWeights

Learn = Callable[[torch.Tensor, torch.Tensor], float]


class Shards:
    """The shards of each batch, those that this process computes, and the mean of what all of them learn.

    Args:
        count: Shards of a batch.
        rank, ranks: This process among those that share the shards, in the process group of `joined`.
    """

    def __init__(self, count: int = 1, *, rank: int = 0, ranks: int = 1) -> None:
        assert 0 <= rank < ranks <= count, (rank, ranks, count)
        self.count, self.rank, self.ranks = count, rank, ranks

    @property
    def leads(self) -> bool:
        """Whether this process is the one that measures and saves."""
        return self.rank == 0

    def rows(self, images: int) -> tuple[int, int]:
        """Returns which images (first, end) of a batch of so many this process computes."""
        bounds = self._bounds(images)
        return bounds[0][0], bounds[-1][1]

    def learn(
        self, weights: SharedWeights, images: torch.Tensor, labels: torch.Tensor, learn: Learn, *, batch: int
    ) -> float:
        """Leaves the mean gradients of all shards in the weights; returns their mean loss.

        Args:
            images, labels: Of `rows`: (B, C, R, R) and (B,).
            learn: Adds the gradients of a shard's images and labels, and returns its loss. What it trains must be the
                same for every shard of a step.
            batch: Images of the whole batch.
        """
        if self.count == 1:
            return learn(images, labels)
        buffers = [*weights.buffers()]
        before = [each.clone() for each in buffers]
        averaged = [i for i, each in enumerate(buffers) if each.is_floating_point()]
        gradients: list[torch.Tensor] = []
        parts: list[torch.Tensor] = []
        offset = self.rows(batch)[0]
        for first, end in self._bounds(batch):
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
            here = slice(first - offset, end - offset)
            # A copy, which is laid out in memory as it would be in a process of its own.
            loss = learn(images[here].clone(), labels[here].clone())
            gradients = weights.used_gradients()
            changed = [buffers[i] - before[i] for i in averaged]
            flat = [*(each.reshape(-1) for each in (*gradients, *changed)), images.new_tensor([loss])]
            parts.append(torch.cat(flat).mul_((end - first) / batch))
            for each in gradients:
                each.zero_()
        left = self._sum(torch.stack(parts))
        for each in gradients:
            left = _take(left, each)
        for i in averaged:
            change = torch.empty_like(before[i])
            left = _take(left, change)
            buffers[i].copy_(before[i] + change)
        return float(left)

    def check_same(self, step: int) -> None:
        """Makes sure that all processes are at the same step.

        Raises:
            RuntimeError: If they are not: some read another checkpoint.
        """
        if self.ranks == 1:
            return
        found = [torch.zeros(1, dtype=torch.int64, device=_group_device()) for _ in range(self.ranks)]
        dist.all_gather(found, torch.full_like(found[0], step))
        steps = [int(each) for each in found]
        if len({*steps}) > 1:
            raise RuntimeError(f"The processes of a training would go on from different steps: {steps}.")

    # -- inside -------------------------------------------------------------------------------------------------

    def _own(self, rank: int) -> range:
        """Returns the shards of a process: neighbors, so that its images are too."""
        return range(rank * self.count // self.ranks, (rank + 1) * self.count // self.ranks)

    def _bounds(self, images: int) -> list[tuple[int, int]]:
        """Returns the images (first, end) of each shard of this process."""
        assert images >= self.count, (images, self.count)
        own = self._own(self.rank)
        return [(shard * images // self.count, (shard + 1) * images // self.count) for shard in own]

    def _sum(self, parts: torch.Tensor) -> torch.Tensor:
        """Returns the sum over the shards of all processes, added in their order.

        Each process adds one piece of all shards, and passes the sum on: as much traffic as `all_reduce` has.

        Args:
            parts: (own shards, values).
        """
        if self.ranks == 1:
            return _added(parts)
        own, values = parts.shape
        piece = -(-values // self.ranks)
        padded = F.pad(parts, (0, piece * self.ranks - values)).view(own, self.ranks, piece)
        sent = padded.transpose(0, 1).reshape(self.ranks * own, piece).contiguous()
        received = sent.new_empty(self.count, piece)
        numbers = [len(self._own(rank)) for rank in range(self.ranks)]
        dist.all_to_all_single(received, sent, output_split_sizes=numbers, input_split_sizes=[own] * self.ranks)
        pieces = [sent.new_empty(piece) for _ in range(self.ranks)]
        dist.all_gather(pieces, _added(received))
        return torch.cat(pieces)[:values]


def _added(parts: torch.Tensor) -> torch.Tensor:
    """Returns the sum over the first axis, one after the other: (shards, values) -> (values,)."""
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total


def _take(flat: torch.Tensor, into: torch.Tensor) -> torch.Tensor:
    """Copies the first values into a tensor; returns the others."""
    into.copy_(flat[: into.numel()].view(into.shape))
    return flat[into.numel() :]


# -- process groups ---------------------------------------------------------------------------------------------


def open_store(host: str, ranks: int, *, timeout_s: float) -> tuple[Any, int]:
    """Returns a place where the processes of a group find each other, and its port; it listens on `host` alone."""
    listening = socket.create_server((host, 0))
    port = listening.getsockname()[1]
    return _tcp_store(host, port, ranks, timeout_s, master_listen_fd=listening.detach()), port


@contextmanager
def joined(store: Any, *, rank: int, ranks: int, device: str, timeout_s: float) -> Generator[None, None, None]:
    """Makes this process one of a group, for as long as the block runs: by NCCL on GPUs, else by gloo.

    Args:
        store: `open_store`'s, or the host and port (a tuple) of another process's.
        timeout_s: How long a process waits for the others.
    """
    limit = timedelta(seconds=timeout_s)
    if isinstance(store, tuple):
        host, port = store
        store = _tcp_store(host, port, ranks, timeout_s)
    backend = "nccl" if device.startswith("cuda") else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=ranks, timeout=limit)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _tcp_store(host: str, port: int, ranks: int, timeout_s: float, *, master_listen_fd: int | None = None) -> Any:
    return dist.TCPStore(  # pyright: ignore[reportPrivateImportUsage]: documented, but not in __all__
        host,
        port,
        ranks,
        is_master=master_listen_fd is not None,
        timeout=timedelta(seconds=timeout_s),
        wait_for_workers=False,
        master_listen_fd=master_listen_fd,
    )


def _group_device() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
