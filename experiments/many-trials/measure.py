"""What many trials cost: proposals by the thousand, a whole search, and the opening of a long record; see README.md."""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "many-trials"
BATCH, THOUSAND = 16, 1000
SEARCH = shlex.split("--space coatnet-small --budget 20MFLOPs --method params --data digits --threads 1 --no-onnx")
SHORT = shlex.split("--finalists 1 --finalist-epochs 1")


def proposals(searcher: str, trials: int) -> dict[str, Any]:
    """CPU milliseconds per proposal, for every thousand; the score is the number of parameters."""
    from nas.budget import Budget
    from nas.networks.loading import load_space
    from nas.sampling.budget_sampler import BudgetSampler
    from nas.searchers.searcher import make_searcher
    from nas.trial import Trial

    space = load_space("coatnet-small").adapted(resolution=32, channels=1, num_classes=10)
    made = make_searcher(searcher, BudgetSampler(space, [Budget.parse("20MFLOPs")], min_share=0.75), seed=0)
    told, best, milliseconds = 0, 0.0, list[float]()
    began = time.process_time()
    for batch in range(trials // BATCH):
        fresh = [
            Trial(
                number=told + i, architecture=each.architecture, cost=each.cost, status="complete",
                score=float(each.cost.params), seed=0, seconds=0.0, layout=each.layout, origin=each.origin, batch=batch,
            )
            for i, each in enumerate(made.ask(BATCH, batch))
        ]  # fmt: skip
        made.tell(fresh)
        best = max([best, *(trial.score or 0.0 for trial in fresh)])
        before, told = told, told + len(fresh)
        if told // THOUSAND > before // THOUSAND:
            now = time.process_time()
            milliseconds.append(round(1000 * (now - began) / THOUSAND, 3))
            began = now
    return {"searcher": searcher, "trials": told, "ms_per_proposal_by_thousand": milliseconds, "best_score": best}


def search(trials: int) -> dict[str, Any]:
    """CPU seconds (user and system) of a whole search as a person types it, with one finalist of one epoch."""
    program = "import sys; from nas.cli.main import main_search; sys.exit(main_search())"
    words = [*SEARCH, *SHORT, "--trials", str(trials)]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", program, *words, "--out", f"{folder}/run", "--quiet"], check=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "command": f"nas-search {' '.join(words)}",
        "user_s": round(used.ru_utime, 1),
        "system_s": round(used.ru_stime, 1),
        "peak_MB": round(used.ru_maxrss / 1e3),
    }


def opening(trials: int) -> dict[str, Any]:
    """CPU seconds and peak memory of opening a record of many trials."""
    with long_record(trials) as long:
        size = (long / "events.jsonl").stat().st_size
        code = (
            "import resource, sys, time; from nas.run import read_run; t = time.process_time(); "
            "run = read_run(sys.argv[1]); s = time.process_time() - t; "
            "print(s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)"
        )
        ran = subprocess.run([sys.executable, "-c", code, str(long)], check=True, capture_output=True, text=True)
    seconds, peak = map(float, ran.stdout.split())
    return {"trials": trials, "record_MB": round(size / 1e6), "open_s": round(seconds, 2), "peak_MB": round(peak)}


def reporting(trials: int) -> dict[str, Any]:
    """CPU seconds and peak memory of `nas report` on a record of many trials, and what it wrote."""
    with long_record(trials) as long:
        program = "import resource, sys; from nas.cli.main import main; status = main(sys.argv[1:]); "
        program += "used = resource.getrusage(resource.RUSAGE_SELF); "
        program += "print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3); sys.exit(status)"
        command = [sys.executable, "-c", program, "report", str(long)]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        sizes = {name: (long / name).stat().st_size for name in ("report.html", "trials.csv", "study.journal")}
    seconds, peak = map(float, ran.stdout.splitlines()[-1].split())
    written = {name: round(size / 1e6, 1) for name, size in sizes.items()}
    return {"trials": trials, "report_s": round(seconds, 1), "peak_MB": round(peak), "written_MB": written}


@contextmanager
def long_record(trials: int) -> Iterator[Path]:
    """A run with so many trials, made of those of a short search."""
    program = "import sys; from nas.cli.main import main_search; sys.exit(main_search())"
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "short", Path(folder) / "long"
        words = [*SEARCH, *SHORT, "--trials", "1000", "--quiet"]
        subprocess.run([sys.executable, "-c", program, *words, "--out", str(short)], check=True)
        _lengthen(short, long, trials)
        yield long


def _lengthen(short: Path, long: Path, trials: int) -> None:
    """Writes a record with so many trials: those of another, numbered anew."""
    long.mkdir()
    lines = (short / "events.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["event"] for line in lines]
    first, end = kinds.index("trial"), len(kinds) - kinds[::-1].index("trial")
    parts: list[tuple[str, str]] = []
    for line in lines[first:end]:
        before, _, rest = line.partition('"number":')
        parts.append((before + '"number":', rest[rest.index(",") :]))
    with (long / "events.jsonl").open("w") as file:
        file.write("\n".join(lines[:first]) + "\n")
        for number in range(trials):
            before, rest = parts[number % len(parts)]
            file.write(f"{before}{number}{rest}\n")
        file.write("\n".join(lines[end:]) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["evolution", "bo", "search", "open", "report"])
    parser.add_argument("trials", type=int)
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT / "experiments"))
    from provenance import provenance

    measure = {"search": search, "open": opening, "report": reporting}.get(given.what)
    found = measure(given.trials) if measure else proposals(given.what, given.trials)
    command = f"python experiments/many-trials/measure.py {given.what} {given.trials}"
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{given.what}-{given.trials}.json"
    path.write_text(json.dumps({**provenance(command), **found}, indent=1) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
