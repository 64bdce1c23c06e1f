"""What an exported `model.py` adds to the copied classes: reading weights, building and loading the network.

`nas.export.source` copies these functions and puts the exported network's values in place of the constants.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.networks.network import Network, resize_tables

ARCHITECTURE: dict[str, Any] = {}
TRAINED_RESOLUTION = 0
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Reads a safetensors file: eight bytes with the length of a JSON header, the header, the numbers.

    Raises:
        ValueError: If its content is not what its digest, the SHA-256 of the file with zeros in that place, says.
    """
    data = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    digest = header.pop("__metadata__", {}).get("sha256")
    if digest is not None:
        found = hashlib.sha256(data[:start].replace(digest.encode(), b"0" * 64, 1))
        found.update(memoryview(data)[start:])
        if found.hexdigest() != digest:
            raise ValueError("its content has changed since it was written")
    state = {}
    for name, entry in header.items():
        count, offset = math.prod(entry["shape"]), start + entry["data_offsets"][0]
        flat = torch.frombuffer(data, dtype=DTYPES[entry["dtype"]], count=count, offset=offset)
        state[name] = flat.reshape(entry["shape"])
    return state


def build(resolution: int = TRAINED_RESOLUTION) -> Network:
    """The network with fresh weights: (B, channels, resolution, resolution) -> (B, num_classes)."""
    config = {**ARCHITECTURE, "input": {**ARCHITECTURE["input"], "resolution": resolution}}
    return nn.utils.convert_conv2d_weight_memory_format(Network(config), torch.channels_last)


def load(path: str | Path, resolution: int = TRAINED_RESOLUTION) -> Network:
    """The trained network in eval mode; position tables are resized where the resolution is another."""
    network = build(resolution)
    network.load_state_dict(resize_tables(read_weights(path), network))
    return network.eval()
