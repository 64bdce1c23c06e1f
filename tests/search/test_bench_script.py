"""The script that measures on a device elsewhere."""

import subprocess
import sys

import pytest

from nas.errors import OptionError
from nas.latency.bench_script import bench_script
from nas.latency.latency_table import TABLE_FORMAT
from nas.networks.loading import load_space
from nas.setting import Setting
from nas.strict_yaml import parse_yaml

WITHOUT = """
import runpy, sys
for name in ("torch", "nas"):
    sys.modules[name] = None  # an import of it fails
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def test_it_runs_without_torch_and_this_package(tmp_path):
    pytest.importorskip("onnxscript")
    script = tmp_path / "bench.py"
    script.write_text(bench_script(load_space("coatnet-small"), Setting.parse("onnxruntime:threads=1"), networks=1))
    done = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT, str(script)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = parse_yaml(done.stdout, where="output")
    assert (found["format"], found["setting"], found["space"]) == (
        TABLE_FORMAT, "onnxruntime:threads=1", "coatnet-small",
    )  # fmt: skip
    if not found["networks"]:  # on a busy machine
        assert "Network 1 is left out: other work disturbed its measurement" in done.stderr
    for network in found["networks"]:
        assert network["sampled"]
        assert network["latency_s"] > 0


@pytest.mark.parametrize(
    "setting", ["cpu", "torch.compile:threads=1", "onnxruntime:device=cuda", "onnxruntime:dtype=float16"]
)
def test_another_setting_is_refused(setting):
    with pytest.raises(OptionError, match="A script measures in ONNX Runtime on a CPU in float32"):
        bench_script(load_space("coatnet-small"), Setting.parse(setting), networks=1)
