"""What int8 costs trained networks of coatnet-small, by layout and by part of the network.

    python experiments/int8/run.py --data cifar10-10000.npz --work runs/int8
    python experiments/int8/run.py --work runs/int8 --collect

Started again, it goes on with the network after the last that was exported. `--collect` writes `results/int8/`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance
from tables import write_rows

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = ROOT / "experiments" / "hybrid-truth" / "members.jsonl"
RESULTS = ROOT / "results" / "int8"
LAYOUTS = ("CCCC", "CCCA", "CCAA", "CAAA", "AAAA")
PER_LAYOUT, EPOCHS, WORST = 2, 3, 5
FILES = {"float32": "model.onnx", "int8": "model_int8.onnx"}
RUNTIMES = {"float32": "ONNX Runtime", "int8": "ONNX Runtime, int8"}
NAS = (sys.executable, "-m", "nas.cli.main")


def members() -> list[dict[str, Any]]:
    """The first members of each layout that cost about 5 MMACs, as they were sampled for hybrid-truth."""
    rows = [json.loads(line) for line in MEMBERS.read_text().splitlines()]
    band = {name: [row for row in rows if (row["group"], row["layout"]) == ("band", name)] for name in LAYOUTS}
    return [band[name][number] for number in range(PER_LAYOUT) for name in LAYOUTS]


def make(row: dict[str, Any], data: Path, work: Path) -> None:
    """Trains a member and exports it in float32 and int8, with the latency of both."""
    folder = work / row["digest"]
    if (folder / "export.json").exists():
        return
    config = work / f"{row['digest']}.yaml"
    config.write_text(json.dumps(row["architecture"]))
    train = f"--data {data} --epochs {EPOCHS} --batch-size 64 --seed 0 --threads 1 --no-onnx --quiet --out {folder}"
    subprocess.run([*NAS, "train", config, *train.split()], check=True)
    done = subprocess.run(
        [*NAS, "export", folder, "--format", "onnx,int8", "--json"], check=True, stdout=subprocess.PIPE
    )
    (folder / "export.json").write_bytes(done.stdout)


def collect(work: Path) -> None:
    """Writes one row per network and one per quantized operator."""
    networks, layers = [], []
    for row in members():
        folder = work / row["digest"]
        if not (folder / "export.json").exists():
            continue
        which = {"layout": row["layout"], "digest": row["digest"]}
        found = json.loads((folder / "exports/1/int8.json").read_text())
        exported = json.loads((folder / "export.json").read_text())
        networks.append(
            which
            | {key: found[key] for key in ("accuracy_float32", "accuracy", "difference_error", "changed", "logits_db")}
            | {"images": found["validation_images"]}
            | {f"bytes_{kind}": exported["sizes"][file] for kind, file in FILES.items()}
            | {f"latency_s_{kind}": exported["latencies"][name]["latency_s"] for kind, name in RUNTIMES.items()}
        )
        layers += [which | each for each in found["layers"]]
    write_rows(RESULTS / "networks.csv", networks)
    write_rows(RESULTS / "layers.csv", layers)
    summary = provenance("python experiments/int8/run.py --data cifar10-10000.npz --work runs/int8")
    found = {"parts": parts(layers), "worst_of_hybrids": worst_of_hybrids(layers)}
    (RESULTS / "summary.json").write_text(json.dumps(summary | found, indent=1) + "\n")


def parts(layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Median SQNR and loss by part of the network, bridges apart."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for each in layers:
        hybrid = "pure" if len(set(each["layout"])) == 1 else "hybrid"
        groups.setdefault(f"{hybrid}: {'bridge to ' if each['bridge'] else ''}{each['part']}", []).append(each)
    return {
        name: {
            "operators": len(group),
            "output_db": round(median(each["output_db"] for each in group), 2),
            "lost_db": round(median(each["lost_db"] for each in group), 2),
        }
        for name, group in sorted(groups.items())
    }


def worst_of_hybrids(layers: list[dict[str, Any]]) -> dict[str, Any]:
    """How many of the operators that lose most are in bridges, five of each hybrid, beside how many of all are."""
    networks: dict[str, list[dict[str, Any]]] = {}
    for each in layers:
        if len(set(each["layout"])) > 1:
            networks.setdefault(each["digest"], []).append(each)
    worst = [each for group in networks.values() for each in sorted(group, key=lambda each: -each["lost_db"])[:WORST]]
    of_all = [each for group in networks.values() for each in group]
    return {
        "networks": len(networks),
        "in_bridges": sum(each["bridge"] for each in worst),
        "of": len(worst),
        "share_of_all_operators": round(sum(each["bridge"] for each in of_all) / max(1, len(of_all)), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--collect", action="store_true")
    args = parser.parse_args()
    if args.collect:
        collect(args.work)
        return
    args.work.mkdir(parents=True, exist_ok=True)
    for row in members():
        make(row, args.data, args.work)
        print(row["layout"], row["digest"], flush=True)


if __name__ == "__main__":
    main()
