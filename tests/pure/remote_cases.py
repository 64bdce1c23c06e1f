"""What tests of runs at a URL share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas.run import Run
from nas.run.events import PhaseStarted
from nas.run.remote import run_folder

MANIFEST = {"options": {}, "plan": {}, "budgets": []}


def go_to(monkeypatch: pytest.MonkeyPatch, machine: Path) -> None:
    monkeypatch.setenv("NAS_CACHE", str(machine))


def notes() -> list[str]:
    return []


def events(folder: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (folder / "events.jsonl").read_text().splitlines()]


def start(url: str, said: list[str]) -> Path:
    """A run with one event and one checkpoint, uploaded; returns its folder."""
    with run_folder(url, "space", said.append) as folder, Run.create(folder, MANIFEST) as run:
        checkpoint = folder / "supernet" / "step-1.safetensors"
        checkpoint.parent.mkdir()
        checkpoint.write_bytes(b"weights")
        run.append(PhaseStarted(phase="supernet"))
    return folder
