"""timm, imported beside a build of torch that torchvision's binary does not belong to.

timm (like transformers) needs torchvision to be importable, which fails with CPU builds of torch: its Python registers
fake kernels for operators that its binary would have defined. Defining them is enough; nothing here calls them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from nas.export import alone

_DEFINE = """
kept = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    kept.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
"""
# Defines them once torchvision is asked for.
_AT_IMPORT = f"""
import sys

class Defining:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch
            exec({_DEFINE!r}, {{"torch": torch}}, defined)

defined = {{}}
sys.meta_path.insert(0, Defining())
"""
# Does so in every process that finds it as sitecustomize.py, and in those that check an export, which look nowhere.
_AT_START = f"""
import subprocess, sys

exec({_AT_IMPORT!r})
started = subprocess.Popen.__init__

def start(self, args, *others, **named):
    if list(args[:3]) == [sys.executable, "-I", "-c"]:
        args = [*args[:3], {_AT_IMPORT!r} + args[3]]
    started(self, args, *others, **named)

subprocess.Popen.__init__ = start
"""
# The library that defines them in this process, where that was needed: it lives as long as the process does.
_KEPT: list[torch.library.Library] = []


def import_timm() -> ModuleType:
    """timm; the test that asks is skipped where it is not installed."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    try:
        return importlib.import_module("timm")
    except RuntimeError as fault:
        if "torchvision::" not in str(fault):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] in ("timm", "torchvision")]:
        del sys.modules[name]
    defined: dict[str, torch.library.Library] = {}
    exec(_DEFINE, {"torch": torch}, defined)
    _KEPT.append(defined["kept"])
    return importlib.import_module("timm")


def import_timm_everywhere(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """timm, here and in the processes that check an export; each needs the operators that this one needed."""
    timm = import_timm()
    if _KEPT:
        monkeypatch.setattr(alone, "_HEADER", alone._HEADER.replace("import torch\n", f"import torch\n{_DEFINE}"))
    return timm


def operators_for_programs(folder: Path) -> dict[str, str]:
    """Returns the variables of programs that may import torchvision: its operators, where they are missing here.

    Args:
        folder: For a file that Python runs when it starts.
    """
    if importlib.util.find_spec("timm") is None:
        return {}
    import_timm()
    if not _KEPT:
        return {}
    (folder / "sitecustomize.py").write_text(_AT_START)
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))}
