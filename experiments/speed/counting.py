"""CPU seconds of the first count and the first profile in a process, none of which is known; see README.md.

python experiments/speed/counting.py [NETWORK] [SIDE] [torch]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time

# No counts of earlier runs.
os.environ["NAS_CACHE"] = tempfile.mkdtemp()

import torch  # noqa: F401

import nas
from nas.costs import meta_outputs


def main() -> None:
    """Prints the seconds at an image side that no shipped count has; `torch` leaves every op to torch's kernels."""
    words = [word for word in sys.argv[1:] if word != "torch"]
    name, side = (*words, *("coatnet_0", "208")[len(words) :])[:2]
    if "torch" in sys.argv:
        meta_outputs.known_output = lambda *_: None  # type: ignore[assignment]
    architecture = nas.load_architecture(name)
    for sized in (architecture.at_resolution(int(side)), architecture.at_resolution(int(side) + 32)):
        for what, call in (("count", nas.cost), ("profile", nas.profile)):
            began = time.process_time()
            call(sized)
            print(f"{name} at {sized.input.resolution}: {what} {time.process_time() - began:.3f} s")
    print("compiler imported:", "torch._dynamo" in sys.modules)


if __name__ == "__main__":
    main()
