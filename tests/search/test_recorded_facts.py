"""Records and files that were changed after they were written: nothing is believed that can be found out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.architecture import Architecture
from nas.errors import ExportError, RunError
from nas.export import export_run, files_of
from nas.networks.network import build
from nas.run import read_run
from nas.run.events import FinalistTrained, TrialScored, WinnerExported
from nas.training.checkpoint import load_checkpoint, newest, save_checkpoint

from .kill_cases import Server, assert_same_end


def copied(whole: Path, to: Path, change: Callable[[dict[str, Any]], list[dict[str, Any]]] | None = None) -> Path:
    """A copy of a run whose events are replaced by those that `change` makes of each."""
    run = Path(shutil.copytree(whole, to, ignore=shutil.ignore_patterns(".lock")))
    if change is not None:
        events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
        changed = [event for before in events for event in change(before)]
        (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in changed))
    return run


def before_export(whole: Path, to: Path) -> Path:
    """As if the run had been killed once its finalists were recorded."""
    kept = read_run(whole).events(FinalistTrained)[-1].time
    run = copied(whole, to, lambda event: [event] if _time(event) <= kept else [])
    shutil.rmtree(run / "winners")
    return run


def _time(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["time"])


def flipped(path: Path, at: int = -100) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x40
    path.write_bytes(content)


def trial(number: int, change: Callable[[dict[str, Any]], list[dict[str, Any]]]) -> Any:
    """Changes the event of one trial."""
    return lambda event: change(event) if event["event"] == "trial" and event["trial"]["number"] == number else [event]


# -- weights --------------------------------------------------------------------------------------------------


def test_a_finished_finalist_with_a_flipped_byte_is_trained_again(server: Server, whole: Path, tmp_path: Path) -> None:
    run = before_export(whole, tmp_path / "run")
    digest = read_run(run).events(FinalistTrained)[0].digest
    path = newest(run / "finalists" / digest)
    assert path is not None
    flipped(path)
    assert server.do("resume", run) == 0
    assert_same_end(run, whole)


def test_what_is_exported_is_what_the_record_says(server: Server, whole: Path, tmp_path: Path) -> None:
    run = before_export(whole, tmp_path / "run")
    before = read_run(run).events(FinalistTrained)[0]
    path = newest(run / "finalists" / before.digest)
    assert path is not None
    network = build(Architecture.from_dict(before.architecture).at_resolution(before.resolution or 8))
    facts = load_checkpoint(path, network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    save_checkpoint(path, network, None, facts)  # whole, and of other weights
    assert server.do("resume", run) == 0
    last = {event.digest: event for event in read_run(run).events(FinalistTrained)}[before.digest]
    assert last.weights_sha256 != before.weights_sha256
    assert last.test_accuracy < before.test_accuracy
    winners = {event.digest: event for event in read_run(run).events(WinnerExported)}
    assert winners[before.digest].test_accuracy == last.test_accuracy
    assert f"{last.test_accuracy:.2%}" in (run / winners[before.digest].path / "card.md").read_text()


@pytest.mark.parametrize("damage", [Path.unlink, flipped], ids=["gone", "flipped"])
def test_a_finished_run_writes_a_damaged_winner_again(
    server: Server, whole: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    run = copied(whole, tmp_path / "run")
    weights = run / "winners" / "1" / "weights.safetensors"
    damage(weights)
    with pytest.raises(ExportError, match="nas-search --resume"):
        export_run(run)
    assert server.do("resume", run) == 0
    winner = {event.rank: event for event in read_run(run).events(WinnerExported)}[1]
    assert winner.sha256 == files_of(run / "winners" / "1")
    assert "weights.safetensors" in winner.sha256


# -- the record -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (trial(2, lambda event: [event, event]), "Trial 2 is recorded twice"),
        (trial(2, lambda _: []), "Trial 3 is recorded where trial 2 should be"),
    ],
    ids=["twice", "missing"],
)
def test_trials_are_numbered_without_a_gap(whole: Path, tmp_path: Path, change: Any, said: str) -> None:
    run = copied(whole, tmp_path / "run", change)
    with pytest.raises(RunError, match=said):
        read_run(run).trials()


def test_edited_costs_are_counted_again(server: Server, whole: Path, tmp_path: Path) -> None:
    def cheapened(event: dict[str, Any]) -> list[dict[str, Any]]:
        event["trial"]["cost"]["macs"] = 1
        return [event]

    run = copied(whole, tmp_path / "run", trial(2, cheapened))
    shutil.rmtree(run / "winners")
    assert read_run(run).events(TrialScored)[2].trial["cost"]["macs"] == 1
    assert server.do("resume", run) == 2
    assert "trial 2 is recorded with 1 macs, but its network has" in server.said


@pytest.mark.parametrize("path", ["../elsewhere", "/etc", "winners/../..", "winners/1/..", ""])
def test_a_winner_is_in_the_folder_of_winners(whole: Path, tmp_path: Path, path: str) -> None:
    run = copied(whole, tmp_path / "run", lambda e: [{**e, "path": path} if e["event"] == "winner" else e])
    with pytest.raises(RunError, match="path must be a folder of winners/, not"):
        read_run(run)
