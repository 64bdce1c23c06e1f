"""The commands of README, docs and notebooks, as a reader types them, and what tests change in them or leave out."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))

# What a test runs in place of what a page says, so that the page takes minutes on any machine: values of options.
SMALLER = (
    ("README.md", "--epochs 300", "--epochs 1"),
    ("README.md", "--budget 8ms@cpu:threads=1", "--budget 200ms@cpu:threads=1"),  # where other work slows the machine
    ("photos.md", "--epochs 300", "--epochs 1"),
    ("exports.md", "--epochs 300", "--epochs 1"),
    ("photos.md", "--epochs 5", "--epochs 1"),
    ("methods.md", "--space hytra", "--space coatnet-small"),  # peaks at 8.8 GB of memory, as the page says
    ("methods.md", "--budget 280MFLOPs", "--budget 5MFLOPs"),
    ("methods.md", "--resolution 64", "--resolution 32"),
    ("cluster.md", "--workers 8", "--workers 2"),  # tests may have two cores
    ("cluster.md", "--workers 4", "--workers 2"),
)
_FEW = "--trials 8 --finalists 2 --finalist-epochs 1 --threads 1 --no-onnx"  # the page on exports writes ONNX
# What commands that train get for the same reason: (which commands, what they get). The first that fits counts; options
# of the page itself stay, `--time 2h` among them.
LIMITED = (
    (r"nas-search .*--(dry-run|resume)", ""),
    (r"nas-search .*--parent ", f"{_FEW} --parent-epochs 1 --epochs 1"),
    (r"nas-search .*--method supernet", f"{_FEW} --epochs 1"),
    (r"nas-search .*--method blockwise", f"{_FEW} --epochs 1"),
    (r"nas-search .*--supernet ", _FEW),
    (r"nas-search .*--data digits", f"{_FEW} --calibrations 2 --calibration-epochs 1"),
    (r"nas-search .*--method params", _FEW),
    (r"nas-search ", f"{_FEW} --method params"),  # the default would measure proxies of dozens of networks each time
    (r"nas train .*--epochs ", "--threads 1 --no-onnx"),
    (r"nas train ", "--epochs 1 --threads 1 --no-onnx"),
    (r"nas rank .*--method calibrated", "--calibrations 2 --threads 1"),
    (r"nas rank .*--data ", "--threads 1"),
)
_CLUSTER = "needs addresses of its own: page_services.py starts a cluster on loopback in its place"
# Commands that no test of pages runs, and why.
LEFT_OUT = {
    "pip install '.[onnx]'": "tests/edge/test_wheel.py installs the package into environments of its own",
    "make demo": "sets up an environment, then does as docs/index.md's search, for 14 minutes",
    "make test": "is what runs these tests",
    "ray start --head --node-ip-address 10.0.0.1 --dashboard-host 127.0.0.1": _CLUSTER,
    "ray start --address 10.0.0.1:6379 --node-ip-address 10.0.0.2": _CLUSTER,
    "ray job submit --address http://127.0.0.1:8265 --working-dir . -- nas-search --space coatnet-small "
    "--budget 5MFLOPs --data photos --ray auto --out /shared/runs/photos": "tests/edge/test_ray_job.py runs it",
}


def python_blocks(page: str) -> list[str]:
    """Returns the Python programs of a page of the docs."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)


_CODE = re.compile(r"^(?: {4}|\t)(.*)$|^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PROGRAM = re.compile(r"!?(nas|nas-search|python|pip|make|ray|export) [^=(]")


@dataclass(frozen=True, slots=True)
class Command:
    """A line of a page, as a shell takes it, without its comment."""

    page: str
    line: str

    @property
    def as_run(self) -> str:
        """The line with what tests put in place of its values, and what they add."""
        line = self.line
        for page, written, smaller in SMALLER:
            if page == self.page:
                line = re.sub(rf"{re.escape(written)}(?=\s|$)", smaller, line)
        added = next((words for which, words in LIMITED if re.match(which, line)), "")
        return f"{line} {added}".rstrip()


def commands_of(page: str, text: str) -> list[Command]:
    """Returns the commands in a page's blocks of code; not those with an ellipsis, which nobody can type."""
    code = "\n".join(a or b for a, b in _CODE.findall(text))
    code = re.sub(r"\s*\\\n\s*", " ", code)
    lines = [re.split(r"\s+#", line)[0].strip().removeprefix("!") for line in code.splitlines()]
    return [Command(page, line) for line in lines if _PROGRAM.match(line) and "…" not in line]


def page_commands() -> dict[str, list[Command]]:
    """Returns the commands of README and docs, by page, in their order; only of pages that have some."""
    found = {page.name: commands_of(page.name, page.read_text()) for page in PAGES}
    return {name: commands for name, commands in found.items() if commands}


def notebook_pages() -> dict[str, str]:
    """Returns the text of the notebooks' pages, as the site has them, by the notebooks' names."""
    place = ROOT / "docs" / "notebook_pages.py"
    spec = importlib.util.spec_from_file_location("notebook_pages", place)
    assert spec is not None
    assert spec.loader is not None
    hook: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    return {path.name: hook.as_markdown(json.loads(path.read_text()), path.name) for path in NOTEBOOKS}


def notebook_commands() -> list[Command]:
    """Returns the commands of the notebooks, those in cells and those in the text."""
    return [command for name, text in notebook_pages().items() for command in commands_of(name, text)]


def cell_commands(path: Path) -> set[str]:
    """Returns the commands in a notebook's cells of code, which run when it does."""
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    code = "".join(f"```\n{''.join(cell['source'])}\n```\n" for cell in cells)
    return {command.line for command in commands_of(path.name, code)}
