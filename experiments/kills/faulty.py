"""A file from outside, for `nas-search --import`: networks whose arithmetic or memory fails, once, in a worker.

`faults.py` writes the name of a failure to the file KILLS_TOKEN, which only workers know. The first of them that runs
a network takes it: the outputs of that network are NaN from then on ("nan"), or the process may have 256 MB more than
it has and takes them all ("oom"). Every process also saves the state of its trainings after a second, as these runs
take a minute, not a night.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import torch

from nas.networks.network import Network
from nas.training import loop

loop.REDONE_S, loop._FIRST_S = 2.0, 0.5
_TOKEN = Path(os.environ.get("KILLS_TOKEN", "/nonexistent"))
_forward = Network.forward


def _taken() -> str:
    """The failure that this process has been asked for, "" for none."""
    try:
        kind = _TOKEN.read_text()
        _TOKEN.unlink()  # of two processes, one
    except OSError:
        return ""
    return kind


def _run_out_of_memory() -> None:
    """Takes memory until there is none, and asks for more: the allocator's own error comes of it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    taken: list[torch.Tensor] = []
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (256 << 20), hard))
    try:
        while True:
            taken.append(torch.zeros(1 << 22))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def forward(self: Network, x: torch.Tensor) -> Any:
    kind = _taken()
    if kind == "oom":
        _run_out_of_memory()
    if kind == "nan":
        self.__dict__["broken"] = True
    y = _forward(self, x)
    return y * float("nan") if "broken" in self.__dict__ else y


Network.forward = forward
