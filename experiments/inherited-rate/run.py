r"""Which learning rate suits what begins with a pretrained parent's weights, in a few epochs? See README.md.

    nas train tf_efficientnet_lite0 --weights lite0.safetensors --data clothing10 --recipe finetune --epochs 5 \
        --train-resolution 160 --out tuned
    python experiments/inherited-rate/run.py --data clothing10 --parent tuned --work runs/inherited-rate

Stopped, it goes on when started again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nas
from nas.methods.protocol import plan
from nas.methods.supernet import method
from nas.methods.supernet.parent import space_of_parts
from nas.run import read_run
from nas.run.events import FinalistTrained, SupernetAccuracy
from nas.training import learning_rate_for

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from commands import is_finished
from provenance import provenance
from tables import write_rows

RESULTS = Path(__file__).resolve().parents[2] / "results" / "inherited-rate"
RATES = ((0.5, 0.25), (2.0, 1.0), (4.0, 2.0))
COMMAND = "python experiments/inherited-rate/run.py --data clothing10 --parent tuned --work runs/inherited-rate"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--parent", required=True, help="folder that nas train wrote")
    parser.add_argument("--budget", default="52MFLOPs")
    parser.add_argument("--work", type=Path, required=True)
    words = parser.parse_args()
    for shared, alone in RATES:
        run = words.work / f"{shared:g}-{alone:g}"
        if not is_finished(run):
            with rates(shared, alone):
                search(words, run)
    rows = [row for shared, alone in RATES for row in rows_of(words.work / f"{shared:g}-{alone:g}", shared, alone)]
    write_rows(RESULTS / "trainings.csv", rows)
    (RESULTS / "summary.json").write_text(json.dumps(provenance(COMMAND), indent=1) + "\n")


@contextmanager
def rates(shared: float, alone: float) -> Iterator[None]:
    """Multiplies the learning rates of supernets and of single networks from scratch, for what begins with weights."""
    before = method.INHERITED_RATE
    method.INHERITED_RATE = shared
    plan.learning_rate_for = lambda params, batch_size: alone * learning_rate_for(params, batch_size)
    try:
        yield
    finally:
        method.INHERITED_RATE, plan.learning_rate_for = before, learning_rate_for


def search(words: argparse.Namespace, run: Path) -> None:
    if run.exists():
        nas.resume(run)
        return
    options = nas.SearchOptions.of(
        method="supernet",
        parent=words.parent,
        parent_is_tuned=True,
        resolution=160,
        train_resolution=160,
        threads=1,
        epochs=3,
        trials=24,
        finalists=1,
        finalist_epochs=6,
        onnx=False,
        out=str(run),
    )
    space = space_of_parts(options.of_method().derives_from or "")
    nas.search(space, budgets=[nas.Budget.parse(words.budget)], data=words.data, options=options)


def rows_of(run: Path, shared: float, alone: float) -> list[dict[str, Any]]:
    """A row per accuracy on search-validation: members that are watched, the best inherited, the trained networks."""
    record = read_run(run)
    told = {"supernet_rate": shared, "network_rate": alone}
    watched = record.events(SupernetAccuracy)
    last = max(event.epoch for event in watched)
    found = [(event.name, event.epoch, event.accuracy) for event in watched if event.epoch == last]
    found.append(("best of the search, inherited", last, max(trial.score or 0.0 for trial in record.trials())))
    found += [
        (f"trained: {event.chosen_by}", event.epochs, event.validation_accuracy)
        for event in record.events(FinalistTrained)
    ]
    return [{**told, "network": name, "epochs": epochs, "validation": round(value, 4)} for name, epochs, value in found]


if __name__ == "__main__":
    main()
