"""What is a search from a pretrained parent worth on a few thousand photos? See README.md.

    python experiments/pretrained/run.py --data clothing10 --weights lite0.safetensors --shares 0.5 --seeds 1

Stopped, it goes on when started again. Every finished search is a row of `results/pretrained/`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from nas.formats import is_rival
from nas.run import atomic_write, read_run
from nas.run.events import FinalistTrained, ParentTuned, RunFinished, WinnerExported

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from tables import write_rows

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "pretrained"
SIZE = 160
SCALED = "scaled"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder of class folders")
    parser.add_argument("--weights", required=True, help="tf_efficientnet_lite0's, by nas weights convert")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 0.25], help="of the parent's multiply-adds")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--macs", type=float, default=208.0, help="the parent's multiply-adds in millions")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="further options of nas-search")
    parser.add_argument("--work", type=Path, default=Path("runs/pretrained"))
    parser.add_argument("--collect", action="store_true", help="only read what is finished")
    words = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for share in words.shares:
        for seed in range(words.seeds):
            run = words.work / f"{share:g}-{seed}"
            if not words.collect:
                search(words, run, share, seed)
            if run.exists() and read_run(run).last(RunFinished) is not None:
                rows.append({"share": share, "seed": seed, **found(run)})
                write_rows(RESULTS / "searches.csv", rows)
    told = provenance("python experiments/pretrained/run.py " + " ".join(sys.argv[1:]))
    atomic_write(RESULTS / "summary.json", json.dumps({**told, "searches": rows}, indent=1) + "\n")
    print(json.dumps(rows, indent=1))


def search(words: argparse.Namespace, run: Path, share: float, seed: int) -> None:
    """One search by the command line, from its start or its stop."""
    command = [sys.executable, "-c", "import sys; from nas.cli.main import main_search; sys.exit(main_search())"]
    if run.exists():
        command += ["--resume", str(run)]
    else:
        command += ["--parent", "tf_efficientnet_lite0", "--weights", words.weights, "--data", words.data]
        command += ["--budget", f"{share * words.macs:g}MFLOPs", "--resolution", str(SIZE), "--seed", str(seed)]
        command += ["--train-resolution", str(SIZE), "--out", str(run), *words.options]
    run.parent.mkdir(parents=True, exist_ok=True)
    with (run.parent / f"{run.name}.log").open("a") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)


def found(run: Path) -> dict[str, Any]:
    """What a finished search has: the parent, its winner, and the parent scaled to the budget."""
    record = read_run(run)
    parent, finished = record.last(ParentTuned), record.last(RunFinished)
    assert parent is not None
    assert finished is not None
    winner = min(record.events(WinnerExported), key=lambda event: event.rank)
    trained = record.events(FinalistTrained)
    searched = max((t for t in trained if not is_rival(t.chosen_by)), key=lambda event: event.validation_accuracy)
    rival = next((t for t in trained if t.chosen_by == SCALED), None)
    return {
        "parent_macs": parent.macs,
        "parent_validation": parent.validation_accuracy,
        "parent_test": parent.test_accuracy,
        "winner_chosen_by": winner.chosen_by,
        **row("searched", searched),
        **(row("scaled", rival) if rival else {}),
        "seconds": round(finished.seconds),
    }


def row(name: str, event: FinalistTrained) -> dict[str, Any]:
    return {
        f"{name}_macs": event.macs,
        f"{name}_params": event.params,
        f"{name}_validation": event.validation_accuracy,
        f"{name}_test": event.test_accuracy,
        f"{name}_epochs": event.epochs,
    }


if __name__ == "__main__":
    main()
