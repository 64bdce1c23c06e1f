"""How well are the latencies of a family of networks predicted from other families', on this CPU? See README.md."""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

import numpy as np

from nas.architecture import Architecture
from nas.costs import cost
from nas.errors import LatencyError
from nas.latency.device_model import MODEL, fit, predict_blocks
from nas.latency.features import blocks_of
from nas.latency.measuring import device_name, measure_together
from nas.latency.model_error import baseline_predictions, prediction_error
from nas.latency.runtimes import find_runtime
from nas.networks.loading import load_architecture
from nas.setting import Setting
from nas.spaces import catalog

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance

COMMAND = "OMP_NUM_THREADS=1 python experiments/latency/families.py"
RESULTS = Path(__file__).resolve().parents[2] / "results" / "latency"
LARGEST_MACS, LARGEST_PARAMS = 6e9, 5e7
"""As in a calibration on the zoo."""
TOGETHER, BLOCKS, MOST_SPREAD = 6, 7, 0.3


def main() -> None:
    """Measures the zoo's networks, twice each, and predicts each family's from the others'."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--setting", default="cpu:threads=1")
    parser.add_argument("--occasions", type=int, default=2)
    parser.add_argument("--fit-only", action="store_true", help="from what was measured before")
    options = parser.parse_args()
    setting = Setting.parse(options.setting).resolved()
    networks = zoo()
    path = RESULTS / f"zoo-{str(setting).replace(':', '-').replace('=', '-').replace(',', '-')}.json"
    found: dict[str, list[float]] = json.loads(path.read_text())["measured_s"] if path.is_file() else {}
    for occasion in range(0 if options.fit_only else options.occasions):
        measure(networks, setting, found, occasion, path)
    known = [name for name in networks if len(found.get(name, [])) >= options.occasions]
    facts = {
        "device": device_name(setting.device),
        "runtime": find_runtime(setting).version(),
        "setting": str(setting),
        **errors({name: networks[name] for name in known}, found),
        "measured_s": found,
        **provenance(f"{COMMAND} --setting {setting} --occasions {options.occasions}"),
    }
    path.write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps({name: value for name, value in facts.items() if name != "measured_s"}, indent=1))


def zoo() -> dict[str, tuple[str, Architecture]]:
    """Family and architecture of each network of the zoo that a calibration would measure, in one random order."""
    found: dict[str, tuple[str, Architecture]] = {}
    for name in catalog.zoo_names():
        architecture, about = catalog.read_architecture(name)
        spent = cost(load_architecture(name))
        if spent.macs <= LARGEST_MACS and spent.params <= LARGEST_PARAMS:
            found[name] = (about["family"], architecture)
    names = sorted(found)
    random.Random(0).shuffle(names)
    return {name: found[name] for name in names}


def measure(
    networks: dict[str, tuple[str, Architecture]],
    setting: Setting,
    found: dict[str, list[float]],
    occasion: int,
    path: Path,
) -> None:
    """Measures what this occasion lacks, a few at a time, and keeps each batch."""
    left = [name for name in networks if len(found.get(name, [])) == occasion]
    for start in range(0, len(left), TOGETHER):
        batch = left[start : start + TOGETHER]
        latencies = measure_together(
            [networks[name][1] for name in batch], setting, blocks=BLOCKS, most_spread=MOST_SPREAD, seed=occasion
        )
        for name, latency in zip(batch, latencies, strict=True):
            if isinstance(latency, LatencyError):
                print(f"{name}: {latency}", file=sys.stderr)
                continue
            found.setdefault(name, []).append(latency.median_s)
        path.write_text(json.dumps({"measured_s": found}, indent=1) + "\n")
        print(f"occasion {occasion + 1}: {min(start + TOGETHER, len(left))}/{len(left)}", file=sys.stderr, flush=True)


def errors(networks: dict[str, tuple[str, Architecture]], found: dict[str, list[float]]) -> dict[str, object]:
    """Errors of the model and the baselines on each family, all networks of others known."""
    names = list(networks)
    families = sorted({family for family, _ in networks.values()})
    blocks = [blocks_of(architecture) for _, architecture in networks.values()]
    measured = np.array([found[name] for name in names])
    seconds = np.exp(np.log(measured).mean(axis=1))
    predicted: dict[str, np.ndarray] = {}
    each: dict[str, dict[str, object]] = {}
    for family in families:
        out = [i for i, name in enumerate(names) if networks[name][0] == family]
        kept = [i for i in range(len(names)) if i not in set(out)]
        known, asked = [blocks[i] for i in kept], [blocks[i] for i in out]
        values = {
            MODEL: predict_blocks(*fit(known, seconds[kept]), asked),
            **baseline_predictions(known, seconds[kept], asked),
        }
        for method, prediction in values.items():
            predicted.setdefault(method, np.zeros(len(names)))[out] = prediction
        each[family] = {
            "networks": len(out),
            **{method: round(float(np.mean(np.abs(v / seconds[out] - 1))), 4) for method, v in values.items()},
        }
    return {
        "networks": len(names),
        "families": len(families),
        "each family left out": {name: prediction_error(v, seconds).to_dict() for name, v in predicted.items()},
        "the first occasion predicts the last": prediction_error(measured[:, 0], measured[:, -1]).to_dict(),
        "MAPE of each family": each,
    }


if __name__ == "__main__":
    main()
