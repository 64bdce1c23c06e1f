"""`nas device script`: one file that measures networks on a device elsewhere, with the networks inside it as ONNX.

Weights do not change how long an inference takes, so they are a short pattern that compresses to almost nothing.
"""

from __future__ import annotations

import base64
import io
import json
import random
import tempfile
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import torch

from nas.architecture import Architecture
from nas.errors import OptionError
from nas.export.closure import gather
from nas.export.onnx_file import missing_packages, write_onnx
from nas.export.source import module_source
from nas.latency import bench
from nas.latency.calibration import BATCH, choose
from nas.latency.work_model import PRIOR
from nas.networks.fold import fold
from nas.networks.network import build
from nas.progress import Progress, Silent
from nas.setting import Setting
from nas.spaces import SearchSpace
from nas.version import __version__

_CONSTANTS: dict[str, str] = dict.fromkeys(("SETTING", "SPACE", "VERSION", "NETWORKS"), bench.__name__)
_PATTERN = 251
_HEADER = '''"""Measures networks in this device's ONNX Runtime: python bench.py > latencies.json

Needs Python 3.11 and onnxruntime. Then, where hybrid-nas is: nas device import latencies.json
Written by hybrid-nas {version}, Apache-2.0, from which the code below is copied.
"""
'''
_RUN = """
if __name__ == "__main__":
    bench()
"""


def bench_script(
    space: SearchSpace | None,
    setting: Setting,
    *,
    networks: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> str:
    """Returns the source of a file that measures networks of a space in ONNX Runtime on a CPU elsewhere.

    Args:
        space: Whose networks; None for networks of the zoo.
        setting: Of the ONNX Runtime on a CPU, in float32; threads that it leaves out are the device's own choice.
        networks: How many, chosen to say most.

    Raises:
        OptionError: If the setting is another, or packages are missing here.
        ExportError: If a network cannot be written as ONNX.
    """
    if (setting.runtime, setting.device, setting.dtype) != ("onnxruntime", "cpu", "float32"):
        raise OptionError(
            f"A script measures in ONNX Runtime on a CPU in float32, but got {setting}: give --setting "
            "onnxruntime:threads=2, say; in torch, install hybrid-nas there and use nas device calibrate."
        )
    if missing_packages():
        raise OptionError(f"nas device script needs {', '.join(missing_packages())}: pip install 'hybrid-nas[onnx]'.")
    progress = progress or Silent()
    chosen: list[Architecture] = []
    at_random: list[bool] = []
    while len(chosen) < networks:
        more, sampled = choose(space, chosen, PRIOR, random.Random(f"{seed}/{len(chosen)}"))
        chosen += more
        at_random += [place < sampled for place in range(len(more))]
        if len(more) < BATCH:
            break
    packed_networks = _archive(list(zip(chosen, at_random, strict=True))[:networks], progress)
    values: dict[str, Any] = {
        "SETTING": {"text": str(setting), "threads": setting.threads, "batch": setting.batch, "dtype": setting.dtype},
        "SPACE": space.name if space else "",
        "VERSION": __version__,
    }
    constants = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    packed = "\n".join(textwrap.wrap(base64.b64encode(packed_networks).decode(), 118))
    constants += f'\nNETWORKS = """\n{packed}\n"""'
    gathered = gather([bench.bench], leave=_CONSTANTS)
    return module_source(_HEADER.format(version=__version__), constants, gathered, _RUN, what="the script")


def _archive(networks: list[tuple[Architecture, bool]], progress: Progress) -> bytes:
    """Returns a zip archive of architectures, each with whether it was chosen at random, and of their ONNX models."""
    memory = io.BytesIO()
    progress.start("write ONNX", len(networks), "networks")
    deflated = zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED, compresslevel=9)
    with deflated as archive, tempfile.TemporaryDirectory() as folder:
        told = [{"architecture": each.to_dict(), "sampled": sampled} for each, sampled in networks]
        archive.writestr("networks.json", json.dumps(told))
        for i, (architecture, _) in enumerate(networks):
            network, path = fold(build(architecture)), Path(folder) / "model.onnx"
            _fill(network)
            side = architecture.input.resolution
            write_onnx(network, path, (architecture.input.channels, side, side))
            archive.write(path, f"{i}.onnx")
            progress.advance()
    progress.finish()
    return memory.getvalue()


def _fill(network: torch.nn.Module) -> None:
    """Gives all weights a short pattern around 0, without denormal numbers."""
    pattern = torch.linspace(-0.05, 0.05, _PATTERN)
    with torch.no_grad():
        for weight in network.parameters():
            repeats = -(-weight.numel() // _PATTERN)
            weight.copy_(pattern.repeat(repeats)[: weight.numel()].reshape(weight.shape))
