"""Options of the command line: complaints are one line, exit status 2, before anything heavy is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.cli import search
from nas.cli.main import COMMANDS, main, main_search
from nas.cli.parsing import Parser
from nas.options import SearchOptions

HEAVY = ("torch", "ray", "optuna", "pandas", "numpy", "scipy", "sklearn", "matplotlib", "rich")

COMPLAINTS = [
    ("sarch", "did you mean 'search'"),
    ("--verison", "did you mean '--version'"),
    ("rank --space coatnet", "--truth is missing"),
    ("rank --truth t.csv --score-column s --calibrations 5", "--calibrations 5 is used by --method calibrated"),
    ("search", "--space is missing"),
    ("search --space coatnet", "--budget is missing"),
    ("search --space coatnt --budget 4.2GFLOPs", "did you mean 'coatnet'"),
    ("search --space nowhere/s.yaml --budget 4.2GFLOPs", "No file 'nowhere/s.yaml'"),
    ("search --space coatnet --buget 4.2GFLOPs", "did you mean '--budget'"),
    ("search --space coatnet --budget", "--budget needs a value"),
    ("search --space --budget 4.2GFLOPs", "--space needs a value"),
    ("search --space coatnet --budget 4.2giraffes", "Unknown unit 'giraffes'"),
    ("search --space coatnet --budget 4G", "did you mean GFLOPs"),
    ("search --space coatnet --budget -1G", "without a sign"),
    ("search --space coatnet --budget=-1G", "without a sign"),
    ("search --budget 0GFLOPs", "more than 0"),
    ("search --space coatnet --budget 12ms@gpu", "Unknown device 'gpu'"),
    ("search --space coatnet --budget 4GFLOPs --budget 600MMACs", "give one of them"),
    ("search --space coatnet --budget 4GFLOPs extra", "'extra' is one argument too many"),
    ("search --trials 1e3", "--trials must be a whole number"),
    ("search --trials -3", "--trials must be a whole number"),
    ("search --seed ٣", "--seed must be a whole number"),
    ("search --min-share 1.5", "--min-share must be a share"),
    ("search --min-share much", "--min-share must be a share"),
    ("search --searcher evolutoin", "did you mean 'evolution'"),
    ("search --device gpu", "--device"),
    ("search --batch-size 1", "--batch-size must be"),
    ("search --workers many", "--workers must be a whole number"),
    ("search --workers -2", "--workers must be a whole number"),
    ("search --job-threads 0", "--job-threads must be a whole number"),
    ("search --job-timeout 0", "--job-timeout must be a whole number"),
    ("search --ray head", "--ray must be auto or HOST:PORT"),
    ("search --ray ray://head:10001", "Ray Client addresses are not supported"),
    ("search --space coatnet --budget 4GFLOPs --ray auto --workers 0", "Leave out one of the two"),
    ("search --space coatnet --budget 4GFLOPs --asynchronous", "Give --workers, or leave it out"),
    ("search --space coatnet --budget 4GFLOPs --job-timeout 60", "only a worker can be stopped. Give --workers"),
    ("search --space coatnet --budget 4GFLOPs --gpus-per-worker 0.5", "there are no workers. Give --workers"),
    ("search --space coatnet --budget 4GFLOPs --ray 127.0.0.1:1", "no cluster there (connection refused)"),
    ("search --space coatnet --budget 4GFLOPs --workers 9999", "CPUs for workers. Give at most --workers"),
    ("search --space coatnet --budget 4GFLOPs --workers 1 --job-threads 1024", "Give at most --job-threads"),
    ("search --supernet nowhere", "There is no run at nowhere"),
    ("search --resume nowhere", "There is no run at nowhere"),
    ("search --resume nowhere --space coatnet", "leave out --space"),
    ("search --resume nowhere --budget 4GFLOPs", "leave out --budget"),
    ("search --resume nowhere --dry-run", "leave out --dry-run"),
    ("search --resume nowhere --config nas.yaml", "leave out --config"),
    ("search --config nowhere.yaml", "Cannot read 'nowhere.yaml'"),
    ("search --tri 3", "Unknown option '--tri'"),
    ("train", "CONFIG"),
    ("train coatnet_9", "did you mean 'coatnet_"),
    ("train coatnet_0 --epochs 0", "--epochs must be"),
    ("profile coatnet_9", "did you mean 'coatnet_"),
    ("profile coatnet_0 --latncy", "did you mean '--latency'"),
    ("profile coatnet_0 --resolution 3", "--resolution must be"),
    ("spaces coatne", "did you mean 'coatnet'"),
    ("weights convrt a.pth", "did you mean 'convert'"),
    ("weights convert a.pth --out a.safetensors", "needs --network"),
    ("weights convert a.pth --network levit_256", "needs --out"),
    ("weights convert a.pth --network levit_257 --out a.safetensors", "did you mean 'levit_256'"),
    ("weights convert a.pth --mean 0.5", "--mean must be three numbers"),
    ("weights convert a.pth --std 0.5,0,0.5", "--std must be three numbers"),
    ("weights convert a.pth --network levit_256 --out a.safetensors --mean 0,0,0", "go together"),
    ("report nowhere", "There is no run at nowhere"),
    ("predict nowhere a.jpg", "There is no folder nowhere. Give a winner's folder"),
    ("predict nowhere", "the following arguments are required: IMAGES"),
    ("predict nowhere a.jpg --top 0", "--top must be"),
    ("evaluate nowhere --data digits", "There is no folder nowhere. Give a winner's folder"),
    ("evaluate nowhere", "give --data, such as"),
    ("evaluate nowhere --data digits --on-corrupt skp", "did you mean 'skip'"),
    ("export nowhere --rank 0", "--rank must be"),
    ("export nowhere --format onx", "did you mean 'onnx'"),
]


@pytest.mark.parametrize(("words", "why"), COMPLAINTS)
def test_complaint_is_one_line_on_standard_error_and_exit_status_2(
    words: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split(" ")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert why in err
    assert err.count("\n") == 1


def test_complaint_leaves_standard_output_empty_under_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main_search(["--space", "coatnet", "--budget", "4.2giraffes", "--json"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_help_and_complaints_import_nothing_heavy() -> None:
    calls = [words.split(" ") for words, _ in COMPLAINTS] + [[name, "--help"] for name in COMMANDS] + [["--help"]]
    code = f"""
import contextlib, io, json, sys
from nas.cli.main import main
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        with contextlib.suppress(SystemExit):
            main(words)
    loaded = [name for name in {HEAVY} if name in sys.modules]
    assert not loaded, (words, loaded)
print("light")
"""
    done = subprocess.run([sys.executable, "-c", code, json.dumps(calls)], capture_output=True, text=True, check=False)
    assert done.stdout == "light\n", done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    assert f"usage: nas {name}" in capsys.readouterr().out


def test_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    assert all(f"  {name}  " in overview for name in COMMANDS)


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    told = capsys.readouterr().out
    assert told == f"hybrid-nas {nas.__version__}\n"
    for run, words in ((main_search, []), *((main, [command]) for command in COMMANDS)):
        with pytest.raises(SystemExit) as left:
            run([*words, "--version"])
        assert left.value.code == 0
        assert capsys.readouterr().out == told


@pytest.mark.parametrize("words", [["--help"], ["search", "--help"]])
def test_reader_that_goes_away_is_no_fault(words: list[str]) -> None:
    program = Path(sys.executable).with_name("nas")
    with subprocess.Popen([program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as nas:
        assert nas.stdout is not None
        assert nas.stderr is not None
        nas.stdout.close()
        assert nas.stderr.read() == ""
    assert nas.returncode == 0


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"data": "my images/a", "seed": 3, "min_share": 0.9, "method": "log_channels"},
        {"budgets": ("4.2GFLOPs", "25Mparams"), "method": "blockwise", "resolution": 64},
        {"supernet": "runs/a", "early_stopping": False, "onnx": False, "workers": 2, "ray": "auto"},
        {"workers": "auto", "gpus_per_worker": 0.25, "cpu_workers": 4, "device": "cuda"},
        {"onnx": True, "calibrations": 5, "calibration_epochs": 2, "job_timeout": 60, "dtype": "bfloat16"},
        {"method": "blockwise", "teacher": "winners/1", "train_resolution": 32, "on_corrupt": "refuse"},
    ],
)
def test_a_search_can_be_asked_for_once_more_by_its_options_alone(asked: dict[str, Any]) -> None:
    options = SearchOptions.of(**{"space": "hytra", "budgets": ("280MFLOPs",), **asked})
    words = options.replaced(out="elsewhere").command()
    assert words[0] == "nas-search"
    parser = Parser("nas-search", "")
    search.add_options(parser)
    assert search.read_options(vars(parser.parse(words[1:])), needs_budget=True)[0] == options
    words = options.command(budgets=("7MFLOPs",))
    other = search.read_options(vars(parser.parse(words[1:])), needs_budget=True)[0]
    assert other == options.replaced(budgets=("7MFLOPs",))
