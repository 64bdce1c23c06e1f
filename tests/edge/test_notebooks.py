"""The notebooks of the docs: what is committed, the pages that the site makes of them, and that they run."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from .documented import NOTEBOOKS, notebook_pages

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# Absolute paths, in code or in what it printed.
_OF_A_MACHINE = re.compile(r"(?<![\w.:/])/(?:home|Users|root|tmp|var|work|opt|usr|mnt|private)\b")


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@each_notebook
def test_a_notebook_is_committed_as_it_ran_and_small(path: Path) -> None:
    text = path.read_text()
    cells = code_cells(json.loads(text))
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert kinds <= {"stream", "execute_result", "display_data"}
    assert sum(bool(cell["outputs"]) for cell in cells) > 3
    assert len(text) < 100_000
    assert not _OF_A_MACHINE.search(text)


def test_a_page_has_code_with_what_it_printed_and_drew() -> None:
    pages = notebook_pages()
    assert set(pages) == {"first_search.ipynb", "shrink_a_pretrained_network.ipynb"}
    first = pages["first_search.ipynb"]
    assert first.startswith("# First search\n\n[Download it as a notebook](first_search.ipynb)\n\n")
    assert "```python\nimport nas\n" in first
    assert re.search(r"```text\n[\d,]+ networks; [\d.]+% of them are within 5MFLOPs\n```", first)
    assert "(data:image/png;base64," in first
    assert "(shrink_a_pretrained_network.md)" in first


@pytest.mark.slow
@pytest.mark.timeout(3600)
@each_notebook
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "needs the extra: pip install 'hybrid-nas[test-notebooks]'"
    nbformat = pytest.importorskip("nbformat", reason=reason)
    client = pytest.importorskip("nbclient", reason=reason)
    pytest.importorskip("ipykernel", reason=reason)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    copy = Path(shutil.copy(path, tmp_path))
    notebook = nbformat.read(copy, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    client.NotebookClient(notebook, timeout=3000, kernel_name="python3", resources=resources).execute()
    for old, new in zip(code_cells(json.loads(path.read_text())), code_cells(notebook), strict=True):
        assert [each["output_type"] for each in old["outputs"]] == [each["output_type"] for each in new["outputs"]]
