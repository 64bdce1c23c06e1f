"""Whether memory that tensors leave stays with the process, told by the pages that the system hands out anew."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import textwrap

import pytest

from nas.training.freed_memory import CHOSEN, keep_freed_memory

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")

# One tensor of so many MiB a step; the share of its pages that are new. A hole that earlier tensors left is used again
# whatever glibc is told, so that a tensor that has to be new is several times larger than those before it.
PRELUDE = """
import json, resource, torch
from nas.training.freed_memory import freed_memory_kept, freed_memory_returned, keep_freed_memory

def faults(mebibytes, steps=8):
    for _ in range(2):
        torch.ones(mebibytes << 18)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        torch.ones(mebibytes << 18)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / steps / (mebibytes << 8)

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() >> 20
"""
FEW, MANY = 0.25, 0.9


def told(program: str, **environment: str) -> list[float]:
    usual = {name: value for name, value in os.environ.items() if name not in CHOSEN}
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(program)]
    done = subprocess.run(command, env={**usual, **environment}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: list[float] = json.loads(done.stdout)
    return found


@glibc
def test_pages_are_kept_inside_the_block_and_given_back_after_it() -> None:
    before, inside, held, after, left = told(
        """
        before = faults(64)
        with freed_memory_kept():
            inside, held = faults(96), resident()
        left = resident()
        print(json.dumps([before, inside, held, faults(512), left]))
        """
    )
    assert min(before, after) > MANY
    assert inside < FEW
    assert left < held - 64


@glibc
def test_a_latency_is_measured_without_it_and_the_search_goes_on_with_it() -> None:
    inside, nested, measured, later, after = told(
        """
        with freed_memory_kept():
            inside = faults(64)
            with freed_memory_kept():
                nested = faults(64)
            with freed_memory_returned():
                measured = faults(512)
            later = faults(64)
        print(json.dumps([inside, nested, measured, later, faults(512)]))
        """
    )
    assert max(inside, nested, later) < FEW
    assert min(measured, after) > MANY


@glibc
def test_what_grew_goes_back_between_steps_and_is_told_from_what_steps_need() -> None:
    grown, after, needed, all_needed = told(
        """
        from nas.training.freed_memory import _state, give_back_what_grew
        with freed_memory_kept():
            _state_of_steps = [torch.ones(300 << 18)]  # 300 MiB in use
            give_back_what_grew()
            pieces = [torch.ones(25 << 18) for _ in range(40)]
            rest = [torch.ones(1 << 10) for _ in range(40)]
            del pieces  # a gigabyte of holes
            grown = resident()
            give_back_what_grew()
            after = resident()
            give_back_what_grew()
            needed = _state.needed >> 20
            _state_of_steps.append(torch.ones(900 << 18))  # in use: it does not go back
            give_back_what_grew()
        print(json.dumps([grown, after, needed, resident()]))
        """
    )
    assert grown > 1300
    assert after < grown - 900
    assert after - 8 <= needed < grown / 2
    assert all_needed > needed + 800


@glibc
def test_a_worker_keeps_it_to_its_end() -> None:
    first, later, before = told(
        """
        from nas.executors.code_version import program
        from nas.executors.worker import JobWorker
        before = faults(64)
        JobWorker(None, lambda setup: None, program=program(), threads=1)
        with freed_memory_kept():
            first = faults(96)
        print(json.dumps([first, faults(128), before]))
        """
    )
    assert max(first, later) < FEW
    assert before > MANY


@glibc
def test_a_search_or_training_of_the_process_keeps_it() -> None:
    inside, after = told(
        """
        from nas.training.threads import alone_in_process
        with alone_in_process():
            inside = faults(64)
        print(json.dumps([inside, faults(512)]))
        """
    )
    assert inside < FEW
    assert after > MANY


@glibc
@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES"])
def test_limits_of_the_environment_are_left_alone(name: str) -> None:
    value = "glibc.malloc.trim_threshold=131072" if name == "GLIBC_TUNABLES" else "65536"
    kept, inside = told("print(json.dumps([int(keep_freed_memory()), faults(64)]))", **{name: value})
    assert not kept
    assert inside > MANY


def test_without_glibc_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        """A C library with a function of that name and another meaning."""

        def mallopt(self, name: int, value: int) -> int:
            raise AssertionError("called")

    monkeypatch.setattr("nas.training.freed_memory.ctypes.CDLL", lambda name: Other())
    monkeypatch.setattr("nas.training.freed_memory._state.keeps", False)
    for chosen in CHOSEN:
        monkeypatch.delenv(chosen, raising=False)
    assert not keep_freed_memory()
