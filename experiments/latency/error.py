"""How wrong is a calibration of coatnet-small on this CPU, and how wrong is measuring itself? See README.md."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from functools import partial
from os import environ
from pathlib import Path
from statistics import median

import numpy as np

from nas.latency.calibration import BATCH, calibrate
from nas.latency.device_model import Device
from nas.latency.measuring import measure_together
from nas.latency.model_error import prediction_error
from nas.latency.runtimes import device_name, find_runtime
from nas.networks.loading import load_space
from nas.setting import Setting

# Shared by all experiments, one folder up.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from provenance import provenance

COMMAND = "OMP_NUM_THREADS=1 python experiments/latency/error.py"
ANY = 1e6  # whatever the machine does: the ceiling says how much that was
RESULTS = Path(__file__).resolve().parents[2] / "results" / "latency"


def main() -> None:
    """Calibrates between two occasions on which the same other networks are measured; writes `error.json`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", type=int, default=160)
    parser.add_argument("--unseen", type=int, default=40)
    parser.add_argument("--minutes", type=float, default=4)
    options = parser.parse_args()
    space, setting = load_space("coatnet-small"), Setting(threads=1)
    measure = partial(measure_together, blocks=5, most_spread=ANY)
    rng = random.Random(2024)
    unseen = list(dict.fromkeys(space.sample(rng) for _ in range(options.unseen)))
    first = occasion(unseen, setting)
    device = Device(name=device_name("cpu"), runtime=find_runtime(setting).version(), setting=setting)
    with tempfile.TemporaryDirectory() as folder:
        environ["NAS_CACHE"] = folder
        model = calibrate(space, device, measure, networks=options.networks, minutes=options.minutes)
    second = occasion(unseen, setting)
    both = np.sqrt(first["seconds"] * second["seconds"])
    predicted = model.predict_all(unseen)
    facts = {
        "networks": model.networks,
        "unseen": len(unseen),
        "ceiling: one occasion predicts the other": prediction_error(first["seconds"], second["seconds"]).to_dict(),
        "model, against the mean of both": prediction_error(predicted, both).to_dict(),
        "model, against the first": prediction_error(predicted, first["seconds"]).to_dict(),
        "model, against the second": prediction_error(predicted, second["seconds"]).to_dict(),
        "left out of its own fit": {name: error.to_dict() for name, error in model.errors.items()},
        "noise by the fit": model.correction.scales.noise,
        "reference_s": [first["reference_s"], second["reference_s"]],
        **provenance(COMMAND),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "error.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts, indent=1))


def occasion(networks: list[object], setting: Setting) -> dict[str, object]:
    """Latencies of networks, measured in batches, and the reference's median over these."""
    found = []
    for i in range(0, len(networks), BATCH):
        found += measure_together(networks[i : i + BATCH], setting, blocks=5, most_spread=ANY)
    return {
        "seconds": np.array([each.median_s for each in found]),
        "reference_s": median(each.reference_s for each in found),
    }


if __name__ == "__main__":
    main()
