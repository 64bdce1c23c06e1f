"""CPU seconds of the first count in a process, and of what it is made of; see README.md."""

from __future__ import annotations

import os
import sys
import tempfile
import time

# No counts of earlier runs.
os.environ["NAS_CACHE"] = tempfile.mkdtemp()

import torch  # noqa: F401

import nas


def main() -> None:
    """Prints the seconds; the resolutions are ones that no shipped count has. `compiler` imports that beforehand."""
    architecture = nas.load_architecture("coatnet_0")
    if "compiler" in sys.argv:
        began = time.process_time()
        import torch._dynamo  # noqa: F401

        print(f"import torch._dynamo: {time.process_time() - began:.3f} s")
    for resolution in (208, 240):
        began = time.process_time()
        nas.cost(architecture.at_resolution(resolution))
        print(f"count at {resolution}: {time.process_time() - began:.3f} s")


if __name__ == "__main__":
    main()
