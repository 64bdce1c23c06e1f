"""Words, numbers, budgets, folders and runs that mean nothing: one line with rule, value and remedy, and exit 2."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from nas.cli.main import main
from nas.run import Run
from nas.run.events import PhaseFinished, PhaseStarted, TrialScored

from .bad_input import can_be_mortal, check, complaint, run, told

SEARCH = "search --space coatnet-small"
GIVEN = f"{SEARCH} --budget 5MFLOPs"
UNITS = "such as 4.2GFLOPs, 600MMACs or 25Mparams"
BELOW = (
    "search --space coatnet-small --budget 0.1MFLOPs --data digits",
    "search --space coatnet-small --budget 99params",
)
MANIFEST: dict[str, Any] = {
    "options": {"space": "coatnet-small", "budgets": ["5MFLOPs"]},
    "budgets": ["5MFLOPs"],
    "space_source": "coatnet-small",
    "space_digest": "0123456789abcdef",
}

NAMES = [
    ("search --space coatnet-smal --budget 5MFLOPs", "'coatnet-smal'", "did you mean 'coatnet-small'", "YAML file"),
    ("search --space zzz --budget 5MFLOPs", "Unknown space 'zzz'", "coatnet-small"),
    ("search --space coatnet_0 --budget 5MFLOPs", "coatnet_0 is a network, not a space", "nas train"),
    (f"search --space {'x' * 5000} --budget 5MFLOPs", "Unknown space", "coatnet-small"),
    (f"search --space {'x' * 5000}.yaml --budget 5MFLOPs", "No file", "coatnet-small"),
    ("search --space 'coat\x1b[31m\nnet' --budget 5MFLOPs", r"\x1b[31m\nnet", "did you mean 'coatnet'"),
    ("search --space пространство --budget 5MFLOPs", "Unknown space 'пространство'"),
    ("search --space '' --budget 5MFLOPs", "--space must be a name or a path", "''"),
    (f"{GIVEN} --buget 4MFLOPs", "Unknown option '--buget'", "did you mean '--budget'"),
    (f"{GIVEN} '--bu\x1b[31m\nget' x", r"\x1b[31m\nget", "did you mean '--budget'"),
    (f"{GIVEN} --metric acuracy", "'acuracy'", "did you mean 'accuracy'"),
    (f"{GIVEN} --searcher evolutoin", "'evolutoin'", "did you mean 'evolution'"),
    (f"{GIVEN} --method supernett", "'supernett'", "did you mean 'supernet'"),
    (f"{GIVEN} --strategy sandwhich", "'sandwhich'", "did you mean 'sandwich'"),
    (f"{GIVEN} --on-corrupt ignore", "'ignore'", "Known: refuse, skip"),
    (f"{GIVEN} --dtype fp16", "'fp16'", "bfloat16"),
    (f"{GIVEN} --augment flip", "'flip'", "did you mean 'crop-flip'"),
    (f"{GIVEN} --device gpu", "'gpu'", "cuda"),
    (f"{GIVEN} --device cuda:99", "--device cuda:99", "Use --device cpu"),
    ("profil x", "Unknown command 'profil'", "did you mean 'profile'"),
    ("profile coatnet-small", "coatnet-small is a search space, not a network", "nas-search --space"),
    ("profile coatnet_9", "'coatnet_9'", "did you mean 'coatnet_"),
    ("train coatnet", "coatnet is a search space, not a network", "nas-search --space"),
    ("spaces coatnet-smal", "did you mean 'coatnet-small'"),
    ("export run --format onx", "'onx'", "did you mean 'onnx'"),
    ("export run --format code,openvion", "'openvion'", "did you mean 'openvino'"),
    ("export run --format code,", "Unknown value of --format ''", "Known: "),
]
NUMBERS = [
    *(
        (f"{GIVEN} {option} {value}", f"{option} must be a whole number from", shown, f"such as {option}")
        for option, value, shown in [
            ("--seed", "-1", "-1"),
            ("--seed", "1.5", "'1.5'"),
            ("--seed", "''", "''"),
            ("--seed", "9" * 30, "99999"),
            ("--trials", "0", "got 0"),
            ("--trials", "ten", "'ten'"),
            ("--epochs", "-3", "-3"),
            ("--resolution", "100000", "100000"),
            ("--resolution", "224x224", "'224x224'"),
            ("--train-resolution", "7", "got 7"),
            ("--batch-size", "1", "got 1"),
            ("--threads", "0", "got 0"),
            ("--finalists", "0", "got 0"),
            ("--workers", "-1", "-1"),
            ("--workers", "many", "'many'"),
        ]
    ),
    *(
        (f"{GIVEN} --min-share {aim}", "--min-share must be a share", "such as --min-share 0.75")
        for aim in ("1", "nan", "75%", "-0.1")
    ),
    ("export run --rank 0", "--rank must be a whole number", "got 0"),
    ("train coatnet_0 --epochs 0", "--epochs must be", "got 0"),
    ("profile coatnet_0 --latency --batch 0", "--batch must be", "got 0"),
    ("profile coatnet_0 --latency cpu:threads=0", "threads of a setting must be", "got 0", "threads=2"),
    ("profile coatnet_0 --latency gpu", "Unknown device 'gpu'", "use cpu, cuda"),
    ("profile coatnet_0 --latency cpu@cuda", "one device or runtime", "give one"),
    ("profile coatnet_0 --latency --runtime onnx-runtime", "did you mean 'onnxruntime'"),
    ("profile coatnet_0 --latency --device cuda --threads 2", "those of a CPU", "leave them out"),
    ("profile coatnet_0 --latency cuda --threads 2", "both say the setting", "give one"),
    ("profile coatnet_0 --threads 2", "--threads is of a measurement", "add --latency"),
    ("profile coatnet_0 --latency cuda:77", "finds", "cuda devices here", "Use cpu"),
    ("profile coatnet_0 --latency cpu:dtype=int8", "torch computes in float32", "use one of these"),
]
BUDGETS = [
    ("12ms@cuda:77", "finds", "cuda devices here", "Use cpu"),
    ("12ms@openvion", "Unknown device 'openvion'", "did you mean openvino?"),
    ("12ms@gpu", "Unknown device 'gpu'", "use cpu, cuda"),
    ("8ms@cpu:threads=0", "threads of a setting", "got 0", "such as threads=2", "'8ms@cpu:threads=0'"),
    ("8ms@cpu@cuda", "one device or runtime", "'cpu@cuda'", "give one"),
    ("1KB", "the smallest has", "of weights alone", "Raise --budget"),
    ("0GFLOPs", "'0GFLOPs'", "more than 0", UNITS),
    ("-1G", "'-1G'", "without a sign", UNITS),
    ("-1GFLOPs", "'-1GFLOPs'", "without a sign", UNITS),
    ("NaNGFLOPs", "'NaNGFLOPs'", "finite number", UNITS),
    ("infGFLOPs", "'infGFLOPs'", "finite number", UNITS),
    ("1e400GFLOPs", "'1e400GFLOPs'", "at most 1e18", UNITS),
    ("1e999999999GFLOPs", "'1e999999999GFLOPs'", "at most 1e18"),
    ("1e-400GFLOPs", "more than 0", UNITS),
    ("4.2 giraffes", "Unknown unit 'giraffes'", UNITS),
    ("", "''", "a number and a unit", UNITS),
    (" ", "' '", UNITS),
    ("5", "'5' has no unit", UNITS),
    ("5e6", "'5e6' has no unit", UNITS),
    ("5M", "Unknown unit 'M'", "did you mean MFLOPs"),
    ("5mb", "Unknown unit 'mb'", "did you mean MB"),
    ("4,2GFLOPs", "'4,2GFLOPs'", "decimal comma", "4.2GFLOPs"),
    ("1_000MFLOPs", "thousands separators", "4200MFLOPs"),
    ("4.2.1GFLOPs", "'4.2.1GFLOPs'", "4.2GFLOPs"),
    ("0x10MFLOPs", "Unknown unit 'x10MFLOPs'"),
    ("5MFLOPs@cpu", "Only a time is held on a device", "leave out"),
    ("5MFLOPs,1Mparams", "more than one budget", "its own --budget"),
    ("5MFLOPs 1Mparams", "more than one budget", "its own --budget"),
    ("５MFLOPs", "plain digits and letters", UNITS),
    ("5\nMFLOPs\x1b[31m", r"\nMFLOPs\x1b[31m", "did you mean MFLOPs"),
    ("0.5FLOPs", "less than one", UNITS),
    ("9" * 200 + "FLOPs", "at most 100 characters", "round it"),
]
TOGETHER = [
    (f"{GIVEN} --budget 6MMACs", "5MFLOPs and 6MFLOPs both bound multiply-adds", "give one"),
    (SEARCH, "--budget is missing", "--budget 4.2GFLOPs"),
    (f"{SEARCH} --budget", "--budget needs a value"),
    (f"{SEARCH} --budget 4.2 GFLOPs", "'4.2' and 'GFLOPs' are two words", "4.2GFLOPs"),
    (BELOW[0], "No coatnet-small network fits 100KFLOPs", "the smallest needs", "KMACs", "Raise --budget"),
    (BELOW[1], "No coatnet-small network fits 99params", "the smallest needs", "K params", "Raise --budget"),
]
FOLDERS = [
    (f"{GIVEN} --out run", "run already holds a run", "--resume run", "another --out"),
    (f"{GIVEN} --out other", "other already holds other files (thesis.tex)", "another --out"),
    (f"{GIVEN} --out file", "file is a file, and a run is a folder", "another --out"),
    (f"{GIVEN} --out file/deep/down", "not a directory", "another --out"),
    (f"{GIVEN} --out loop/x", "circle", "another --out"),
    (f"{GIVEN} --out {'x' * 300}", "file name too long", "shorter --out"),
    (f"{GIVEN} --out ''", "--out must be a name or a path", "''"),
    (f"{GIVEN} --out /dev/null", "/dev/null is a file", "another --out"),
    ("train a.yaml --out run", "run already holds other files", "another --out"),
    ("train a.yaml --out other", "other already holds other files (thesis.tex)", "another --out"),
    ("train a.yaml --out file", "file: not a directory", "another --out"),
    ("train a.yaml --weights nothing.safetensors", "nothing.safetensors: there is no such file", "a .safetensors file"),
    ("train a.yaml --weights other", "other: it is not a file", "a .safetensors file"),
    ("train a.yaml --weights file", "Cannot read weights from file", "a .safetensors file"),
    ("train a.yaml --weights evil.pt", "evil.pt may be a pickle, which can run code", "nas weights convert evil.pt"),
    ("train run", "run is a folder", "a YAML file is needed"),
    ("profile won", "won is a folder", "Did you mean won/winners/1/architecture.yaml?"),
    ("profile nothing.yaml", "No file 'nothing.yaml'", "more"),
]
RUNS = [
    ("search --resume nothing", "There is no run at nothing", "a folder that nas-search wrote"),
    ("search --resume other", "other is not a run: it has no events.jsonl", "a folder that nas-search wrote"),
    ("search --resume file", "file is a file, and a run is a folder", "a folder that nas-search wrote"),
    ("search --resume run/events.jsonl", "is a file, and a run is a folder", "Did you mean run?"),
    ("search --resume loop", "There is no run at loop"),
    ("search --resume 'x\x1b[31m\ny'", r"\x1b[31m"),
    ("search --resume run --budget 4MFLOPs", "leave out --budget"),
    ("search --resume run", "0123456789abcdef", "the space has changed since", "another --out"),
    ("search --resume later", "later has format 3", "Upgrade hybrid-nas"),
    ("search --resume middle", "line 2 of 4 is not a JSON event", "Restore it from a copy"),
    ("search --resume wrong", "in line 2 (phase_started), phase must be a text, not '5'", "Restore it from a copy"),
    ("search --resume optionless", "optionless cannot be resumed", "A search needs a space"),
    ("report later", "later has format 3", "Upgrade hybrid-nas"),
    ("report trialless", "trialless: A trial lacks 'architecture'", "Restore events.jsonl"),
    ("export run", "run has no winners yet", "--resume run"),
    ("export torn", "torn has no winners yet", "--resume torn"),  # a torn last line is no reason to refuse a run
    ("export other", "other is not a run", "a folder that nas-search wrote"),
    (f"{GIVEN} --supernet nothing", "There is no run at nothing"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders and runs that cannot be used as they are."""
    home = tmp_path_factory.mktemp("home")
    (home / "file").write_text("text")
    (home / "other").mkdir()
    (home / "other/thesis.tex").write_text("text")
    (home / "loop").symlink_to("loop")
    (home / "a.yaml").write_text(SMALLEST)
    (home / "won/winners/1").mkdir(parents=True)
    (home / "won/winners/1/architecture.yaml").write_text(SMALLEST)
    # A pickle that would make a file: what people call weights.
    (home / "evil.pt").write_bytes(b"cos\nsystem\n(S'touch EXECUTED'\ntR.")
    for name in ("run", "later", "middle", "wrong", "torn", "optionless", "trialless"):
        with Run.create(home / name, MANIFEST) as made:
            made.append(PhaseStarted(phase="supernet"))
            made.append(TrialScored(trial={"number": 0}))
            made.append(PhaseFinished(phase="supernet"))
    _change(home / "later", 0, lambda event: event | {"format": 3})
    _change(home / "optionless", 0, lambda event: {key: event[key] for key in ("format", "time", "event")})
    _change(home / "wrong", 1, lambda event: event | {"phase": 5})
    lines = (home / "run/events.jsonl").read_text().splitlines()
    (home / "middle/events.jsonl").write_text("\n".join([lines[0], lines[1][:20], *lines[2:]]) + "\n")
    (home / "torn/events.jsonl").write_text("\n".join(lines)[:-20])
    return home


SMALLEST = """\
format: 2
input: {channels: 3, resolution: 8}
stem: {op: conv_stem, width: 8}
stages: []
head: {op: classifier, num_classes: 10}
"""


def _change(folder: Path, line: int, change: Any) -> None:
    path = folder / "events.jsonl"
    lines = path.read_text().splitlines()
    lines[line] = json.dumps(change(json.loads(lines[line])))
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(autouse=True)
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


@pytest.mark.parametrize("case", [*NAMES, *NUMBERS, *TOGETHER, *FOLDERS, *RUNS], ids=lambda case: ascii(case[0][-70:]))
def test_what_means_nothing_is_told_in_one_line(
    case: tuple[str, ...], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, *fragments = case
    told(complaint(shlex.split(words), home, capsys), *fragments)


@pytest.mark.parametrize("case", BUDGETS, ids=lambda case: ascii(case[0][:40]))
def test_a_budget_that_means_nothing_is_told_in_one_line(
    case: tuple[str, ...], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    budget, *fragments = case
    told(complaint([*SEARCH.split(), "--budget", budget], home, capsys), *fragments)


@pytest.mark.parametrize(
    "budget", ["5MFLOPS", "5mflops", "5 MFLOPs", "5000KFLOPs", ".005GFLOPs", "5e6FLOPs", "0.2M params"]
)
def test_a_budget_as_people_write_it_is_read(budget: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The next thing that is missing is complained of.
    assert "--space is missing" in complaint(["search", "--budget", budget], home, capsys)


def test_a_run_is_open_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Run.open(home / "run"):
        told(complaint(["search", "--resume", "run"], home, capsys), "run is open in this process already", "stop it")
        other = run(["search", "--resume", "run"], home)
    check(other.returncode, other.stdout, other.stderr)
    told(other.stderr, f"run is open in another process (pid {os.getpid()})", "Wait for it to end or stop it")


def test_a_folder_without_room_is_refused_before_training(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nas.pipeline import disk

    monkeypatch.setattr(disk, "free_bytes", lambda folder: 1_000_000)
    told(complaint([*GIVEN.split(), "--out", "new"], home, capsys), "new may take", "1 MB are free", "Free some space")


def test_a_disk_that_takes_no_more_is_told(home: Path, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SMALLEST)
    words = "train a.yaml --data digits --epochs 1 --train-resolution 8 --threads 1 --device cpu --no-onnx --out t"
    ran = run(words.split(), tmp_path, largest_file=1000)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Traceback" not in ran.stderr
    told(ran.stderr.splitlines()[-1], "Cannot write t/", "file too large", "Raise the limit on the size of files")
    assert not list((tmp_path / "t").glob("**/*.safetensors"))


@pytest.mark.skipif(not can_be_mortal(), reason="permissions do not hold for this user")
@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (f"{GIVEN} --out locked/run", ("Cannot write locked/run: permission denied", "another --out")),
        ("train a.yaml --out locked/run", ("Cannot write locked/run: permission denied", "another --out")),
        (f"{GIVEN} --data secret.npz", ("secret.npz cannot be read", "check its permissions")),
        ("spaces secret.yaml", ("secret.yaml", "Permission denied", "Check")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_forbidden_is_told_in_one_line(words: str, fragments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SMALLEST)
    for name in ("secret.npz", "secret.yaml"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0)
    (tmp_path / "locked").mkdir(mode=0o500)
    ran = run(words.split(), tmp_path, mortal=True)
    check(ran.returncode, ran.stdout, ran.stderr)
    told(ran.stderr, *fragments)


@pytest.mark.parametrize(
    "words", [["search", "--space", b"s\xff.yaml", "--budget", "5MFLOPs"], ["report", b"\xff\n\x1b[2J"]]
)
def test_names_that_are_no_text_are_told_in_one_line(words: list[str | bytes], home: Path) -> None:
    ran = run(words, home)
    check(ran.returncode, ran.stdout, ran.stderr)
    told(ran.stderr, r"\udcff")


def test_a_process_of_its_own_complains_alike(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SEARCH.split(), "--budget", "4.2 giraffes", "--json"]
    ran = run(words, home)
    check(ran.returncode, ran.stdout, ran.stderr)
    assert ran.stderr == complaint(words, home, capsys)


@pytest.mark.parametrize(
    "fault", [MemoryError("Unable to allocate 9 TiB"), RuntimeError("CPUAllocator: can't allocate memory: 9 TiB")]
)
def test_what_does_not_fit_the_memory_is_told_in_one_line(
    fault: Exception, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr("nas.latency.measure", measure)
    words = ["profile", "coatnet_0", "--latency", "--batch", "65536"]
    told(complaint(words, home, capsys), "Out of memory", "9 TiB", "a smaller batch")


def test_nothing_was_executed_and_nothing_left_behind(home: Path) -> None:
    assert not (home / "EXECUTED").exists()
    assert not (home / "runs").exists()
    assert "nas.cli.main" in sys.modules
    assert main(["--version"]) == 0
