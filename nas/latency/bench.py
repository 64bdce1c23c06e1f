"""What a script of `nas device script` does on a device elsewhere: measures its networks, prints JSON.

`nas.latency.bench_script` copies these functions with the source that they use, and puts values in place of the
constants. It needs ONNX Runtime (and the NumPy that comes with it), no torch and nothing of this package.
"""

from __future__ import annotations

import base64
import io
import json
import random
import sys
import time
import zipfile
from collections.abc import Sequence
from typing import Any

from nas.latency.blocks import LEAST_BLOCKS, Clock, Timed, interleave, quartiles
from nas.machine import cpu_name

TOGETHER, BLOCKS = 8, 5
SETTING: dict[str, Any] = {}
SPACE = VERSION = NETWORKS = ""


def open_session(model: bytes, channels: int, side: int) -> Timed:
    """Returns what times one inference of an ONNX model on images of noise."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = SETTING["threads"] or 0
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    shape = (SETTING["batch"], channels, side, side)
    images = np.random.default_rng(0).standard_normal(shape).astype(SETTING["dtype"])

    def timed(clock: Clock) -> Sequence[float]:
        start = clock()
        session.run(None, {"images": images})
        return (clock() - start,)

    return timed


def bench() -> None:
    """Measures all networks in turn with the first of them, and prints what `nas device import` reads."""
    import onnxruntime

    archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(NETWORKS)))
    networks = json.loads(archive.read("networks.json"))
    inputs = [each["architecture"]["input"] for each in networks]
    runs = [
        open_session(archive.read(f"{i}.onnx"), each["channels"], each["resolution"]) for i, each in enumerate(inputs)
    ]
    rows = []
    for first in range(0, len(runs), TOGETHER):
        chosen = runs[first : first + TOGETHER]
        record = interleave(chosen, runs[0], blocks=BLOCKS, clock=time.perf_counter, rng=random.Random(first))
        for i in range(len(chosen)):
            kept = record.undisturbed(i)
            if len(kept) < LEAST_BLOCKS:
                sys.stderr.write(f"Network {first + i + 1} is left out: other work disturbed its measurement\n")
                continue
            rows.append({**networks[first + i], "latency_s": quartiles([block.total for block in kept])[1]})
        sys.stderr.write(f"{len(rows)} of {len(runs)} networks measured\n")
    found = {
        "format": 1,
        "device": cpu_name(),
        "runtime": f"onnxruntime {onnxruntime.__version__}",
        "setting": SETTING["text"],
        "version": VERSION,
        "space": SPACE,
        "networks": rows,
    }
    sys.stdout.write(json.dumps(found) + "\n")
