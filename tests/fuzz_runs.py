"""Run folders that were damaged: mutated records, files that are cut, changed, exchanged or gone."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pickle
import random
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nas.budget import Budget
from nas.errors import NasError
from nas.export.folder import read_exported
from nas.methods.protocol.manifest import kept_presets, kept_space
from nas.methods.protocol.plan import Plan
from nas.methods.supernet.method import SupernetPlan
from nas.methods.supernet.reuse import ReusedSupernet, SupernetCoverage
from nas.networks.loading import load_architecture
from nas.networks.network import build
from nas.options import SearchOptions
from nas.pipeline.search import search
from nas.report import summarise, trials_frame, write_report
from nas.run import Run, read_run
from nas.run.events import WinnerExported
from nas.run.record import _plain_of
from nas.run.sessions import record_resumed
from nas.strict_yaml import dump_yaml
from nas.training.checkpoint import load_checkpoint, newest, read_facts

from .event_cases import note
from .fuzz_data import Evil
from .fuzz_engine import Target
from .fuzz_mutations import mutate_bytes, mutate_data
from .small_space import small_data, small_space

_DRAWN = 60
"""The page of one in so many runs is made, since its plots take a second."""


def make_base(folder: Path) -> Path:
    """A small search in an empty folder, done to its end."""
    (folder / "small.yaml").write_text(dump_yaml(small_data()))
    options = SearchOptions.of(
        space=str(folder / "small.yaml"), out=str(folder / "run"), trials=3, epochs=1, finalists=1, finalist_epochs=1,
        batch_size=512, strategy="single-path", threads=1, device="cpu", onnx=False,
    )  # fmt: skip
    search(small_space(), budgets=[Budget.parse("50KFLOPs")], options=options)
    return folder / "run"


def _make(rng: random.Random, home: Path, *, base: Path) -> None:
    run = home / "run"
    shutil.copytree(base, run, ignore=shutil.ignore_patterns(".lock", "*.png", "*.html", "*.journal", "*.csv"))
    events = run / "events.jsonl"
    how = rng.random()
    if how < 0.6:
        events.write_text(_changed_events(rng, events.read_text()))
    elif how < 0.75:
        events.write_bytes(mutate_bytes(rng, events.read_bytes()))
    else:
        paths = sorted(path for path in run.rglob("*") if path.is_file())
        with contextlib.suppress(OSError):  # a file of a folder that has gone already
            _change_file(rng, rng.choice(paths))


def _changed_events(rng: random.Random, text: str) -> str:
    lines = text.splitlines()
    at = rng.choice((0, rng.randrange(len(lines))))
    how = rng.randrange(8)
    if how < 5:
        lines[at] = json.dumps(mutate_data(rng, json.loads(lines[at])))
    elif how == 5:
        lines[at : at + 1] = rng.choice(([], [lines[at]] * 2, [lines[at][:50]], ["{}"], ["", "null"], ["[1]"]))
    elif how == 6:
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines[at] = lines[at].replace(":", ':{"a":' * rng.choice((2, 50, 3000)), 1)
    end = rng.choice(("\n", "\n", "\n", "", '\n{"event"', "\n\0\0\0", "\n" * 5))
    return "\n".join(lines) + end


def _change_file(rng: random.Random, path: Path) -> None:
    content = path.read_bytes()
    how = rng.randrange(6)
    if how == 0:
        path.unlink()
    elif how <= 2:
        path.write_bytes(mutate_bytes(rng, content))
    elif how == 3:  # what people call a checkpoint
        path.write_bytes(
            rng.choice((pickle.dumps(Evil()), b"", b"\0" * 200, (10**15).to_bytes(8, "little") + content[8:]))
        )
    elif how == 4:
        path.unlink()
        rng.choice((path.mkdir, functools.partial(path.symlink_to, path.name)))()
    else:
        shutil.rmtree(path.parent if path.parent.name != "run" else path.parent / "supernet")


def _parsed(home: Path) -> bool:
    """Whether the record is lines of events."""
    try:
        lines = (home / "run" / "events.jsonl").read_bytes().split(b"\n")[:-1]
    except OSError:
        return False
    return len(lines) > 1 and all(_plain_of(line) for line in lines)


def use_run(home: Path) -> None:
    """Reads a run as its report, its export and `--resume` do. Of several refusals the first counts."""
    run = home / "run"
    refusals: list[NasError] = []

    def tried(work: Callable[[], Any]) -> None:
        try:
            work()
        except NasError as fault:
            refusals.append(fault)

    for work in (_look, _resume, _open, _export, _checkpoints):
        tried(functools.partial(work, run))
    if refusals:
        raise refusals[0]


def _look(run: Path) -> None:
    record = read_run(run)
    summary = summarise(record)
    assert len(trials_frame(record)) == len(summary.trials)
    if zlib.crc32((run / "events.jsonl").read_bytes()) % _DRAWN == 0:
        write_report(run)


def _resume(run: Path) -> None:
    with Run.open(run) as opened:
        manifest = opened.manifest
        space = kept_space(opened)
        options = SearchOptions.from_dict(manifest.get("options", {}))
        for budget in manifest.get("budgets", options.budgets):
            Budget.parse(budget)
        Plan.from_dict(manifest.get("plan", {}), SupernetPlan, run)
        coverage = SupernetCoverage.from_dict(opened.part("method", "coverage"), run)
        reused = opened.part("method", "reused")
        if reused:
            ReusedSupernet.from_dict(reused, coverage, run)
        for architecture in kept_presets(opened):
            assert architecture.digest
        coverage.sampler(space.adapted(resolution=coverage.resolution, channels=1, num_classes=10))
        record_resumed(opened)


def _open(run: Path) -> None:
    before = len(read_run(run).events())
    with Run.open(run) as opened:
        opened.append(note(text="on"))
    assert len(read_run(run).events()) == before + 1


def _export(run: Path) -> None:
    ranks = [event.rank for event in read_run(run).events(WinnerExported)]
    assert all(isinstance(rank, int) for rank in ranks)
    read_exported(run / "winners" / "1")


def _checkpoints(run: Path) -> None:
    newest(run / "supernet")
    winner = read_run(run).last(WinnerExported)
    path = None if winner is None else newest(run / "finalists" / winner.digest)
    if winner is not None and path is not None:
        with torch.random.fork_rng(devices=[]):
            module = build(load_architecture(run / "winners" / str(winner.rank) / "architecture.yaml"))
        load_checkpoint(path, module)
    for path in run.rglob("step-*.safetensors"):
        if os.path.isfile(path):
            read_facts(path)


def run_target(base: Path) -> Target:
    """Damage to copies of a run that was done to its end."""
    return Target(name="run", make=functools.partial(_make, base=base), parsed=_parsed, use=use_run)
