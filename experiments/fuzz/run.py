"""A hundred thousand mutated inputs, tried on every reader; see README.md."""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "experiments")]
RESULTS = ROOT / "results" / "fuzz"
COMMAND = "OMP_NUM_THREADS=1 nice python experiments/fuzz/run.py"
# Reader -> its part of all inputs: more where meaning is checked at length.
SHARES = {
    "space": 0.22, "architecture": 0.20, "budget": 0.18, "run": 0.12,
    "npz": 0.10, "idx": 0.06, "image": 0.06, "folder": 0.06,
}  # fmt: skip
BATCH = 2000
LATEST_S = 60.0
"""A worker that says nothing for so long hangs where no Python runs, and is killed."""
FIELDS = ("input", "parsed", "outcome", "ms", "detail")


def main() -> None:
    """Tries what is left of all inputs, then writes `results/fuzz/`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "fuzz")
    parser.add_argument("--worker", nargs=3, metavar=("READER", "FIRST", "END"))
    args = parser.parse_args()
    if args.worker:
        work(args.worker[0], range(int(args.worker[1]), int(args.worker[2])))
        return
    args.work.mkdir(parents=True, exist_ok=True)
    counts = {reader: round(share * args.inputs) for reader, share in SHARES.items()}
    for reader, count in counts.items():
        path = args.work / f"{reader}.csv"
        ended = -1
        while (done := len(rows(path))) < count:
            ended = supervise(reader, range(done, min(done + BATCH, count)), path, ended)
            print(f"{reader}: {len(rows(path)):,} of {count:,}", flush=True)
    publish({reader: rows(args.work / f"{reader}.csv")[:count] for reader, count in counts.items()})


def rows(path: Path) -> list[dict[str, str]]:
    """What came of each input so far; a line that was not finished is taken back."""
    if not path.exists():
        return []
    text = path.read_text()
    if not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        path.write_text(text)
    return list(csv.DictReader(text.splitlines(), FIELDS))


def supervise(reader: str, inputs: range, path: Path, before: int) -> int:
    """Runs a worker; gives the input that ended it, -1 if none did.

    Args:
        before: The input that ended the last one. The same again is noted as a fault; once may have been the machine.
    """
    words = [sys.executable, __file__, "--worker", reader, str(inputs.start), str(inputs.stop)]
    with (
        tempfile.TemporaryDirectory() as home,
        path.with_suffix(".log").open("a") as log,
        path.open("a") as file,
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, cwd=home) as worker,
    ):
        assert worker.stdout is not None
        done, rest = 0, b""
        while True:
            if not select.select([worker.stdout], [], [], LATEST_S)[0]:
                worker.kill()
                outcome = "hang"
                break
            read = os.read(worker.stdout.fileno(), 65536)
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                file.write(line.decode() + "\n")
            file.flush()
            done += len(lines)
            if not read:
                outcome = "died"
                break
        if done == 0 and outcome == "died" and worker.wait() == 1:
            sys.exit(f"The worker does not start: see {path.with_suffix('.log')}.")
        if done == len(inputs):
            return -1
        if inputs.start + done == before:
            csv.writer(file, lineterminator="\n").writerow(
                [inputs.start + done, "", outcome, "", f"exit {worker.wait()}"]
            )
        return inputs.start + done


def work(reader: str, inputs: range) -> None:
    """Tries inputs, in the current folder; writes a line for each."""
    from tests.fuzz_engine import Attempt, TookTooLongError, attempt

    target, home = find(reader), Path("input").absolute()
    out = csv.writer(sys.stdout, lineterminator="\n")
    warnings.simplefilter("error")  # a warning would be a second line on standard error

    def tried(number: int) -> Attempt:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        return attempt(target, random.Random(f"{reader}:{number}"), home)

    for number in inputs:
        parsed: Any = ""
        ms, detail = "", ""
        try:
            try:
                found = tried(number)
            except TookTooLongError:  # by the clock on the wall: the process may have been stopped for a while
                found = tried(number)
            parsed, outcome, ms = int(found.parsed), found.refused or "accepted", f"{1000 * found.seconds:.1f}"
        except TookTooLongError:
            outcome = "hang"
        except AssertionError as fault:
            outcome = "executed" if "executed" in str(fault) else "traceback"
            detail = traceback.format_exc()
        except Exception:
            outcome, detail = "traceback", traceback.format_exc()
        for sentinel in (home / "EXECUTED", Path("EXECUTED")):
            sentinel.unlink(missing_ok=True)
        out.writerow([number, parsed, outcome, ms, " | ".join(detail.strip().splitlines()[-4:])[:500]])
        sys.stdout.flush()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{reader} {inputs.start}-{inputs.stop}: at most {peak} MB", file=sys.stderr)


def find(reader: str) -> Any:
    """The target of that name."""
    if reader == "run":
        from tests.fuzz_runs import make_base, run_target

        base = Path("base").absolute()
        base.mkdir()
        return run_target(make_base(base))
    from tests import fuzz_data, fuzz_texts

    return next(target for target in (*fuzz_texts.TARGETS, *fuzz_data.TARGETS) if target.name == reader)


FAULTS = ("traceback", "hang", "died", "executed")


def publish(found: dict[str, list[dict[str, str]]]) -> None:
    """Writes a row per reader and a summary."""
    from provenance import provenance
    from tables import write_rows

    table = [summed(reader, lines) for reader, lines in found.items()]
    write_rows(RESULTS / "readers.csv", table)
    refused = {
        reader: dict(Counter(line["outcome"] for line in lines).most_common()) for reader, lines in found.items()
    }
    inputs = sum(row["inputs"] for row in table)
    summary = {
        **provenance(COMMAND),
        "inputs": inputs,
        "past_the_parser": round(sum(row["past_the_parser"] * row["inputs"] for row in table) / inputs, 4),
        "accepted": round(sum(row["accepted"] * row["inputs"] for row in table) / inputs, 4),
        **{f"{fault}s" if fault == "traceback" else fault: sum(row[fault] for row in table) for fault in FAULTS},
        "slowest_ms": max(row["slowest_ms"] for row in table),
        "outcomes": refused,
        "faults": [
            {"reader": reader, **line} for reader, lines in found.items() for line in lines if line["outcome"] in FAULTS
        ],
    }
    (RESULTS / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps({key: value for key, value in summary.items() if key not in ("faults", "outcomes")}, indent=1))


def summed(reader: str, lines: list[dict[str, str]]) -> dict[str, Any]:
    """One row of `readers.csv`."""
    outcomes = Counter(line["outcome"] for line in lines)
    times = sorted(float(line["ms"]) for line in lines if line["ms"])
    return {
        "reader": reader,
        "inputs": len(lines),
        "past_the_parser": round(sum(line["parsed"] == "1" for line in lines) / len(lines), 4),
        "accepted": round(outcomes["accepted"] / len(lines), 4),
        "refused": sum(count for name, count in outcomes.items() if name.endswith("Error")),
        **{fault: outcomes[fault] for fault in FAULTS},
        "median_ms": times[len(times) // 2],
        "slowest_ms": times[-1],
    }


if __name__ == "__main__":
    main()
