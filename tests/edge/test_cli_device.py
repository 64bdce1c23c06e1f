"""`nas device` at the command line: a table becomes a model, which is listed and shown; bad input is refused."""

import json

import pytest

from nas.cli.main import main

TABLE = "name,images_per_s a,latency_ms b\n" + "".join(
    f"{name},{rate},{1000 / rate}\n"
    for name, rate in (("coatnet_0", 10), ("pit_s", 20), ("pit_b", 5), ("edgenext_xxs", 90), ("edgenext_xs", 60))
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))


def test_a_table_is_imported_listed_and_shown(tmp_path, capsys):
    table = tmp_path / "published.csv"
    table.write_text(TABLE)
    words = [
        "device",
        "import",
        str(table),
        "--setting",
        "cuda:batch=32",
        "--column",
        "images_per_s a",
        "--name",
        "gpu",
    ]
    assert main([*words, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["name"], made["setting"], made["networks"]) == ("gpu", "cuda:batch=32", 5)
    assert main(["device", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [made]
    assert main(["device", "show", "gpu"]) == 0
    assert "line on MACs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["foo"], "Unknown action of nas device 'foo'"),
        (["import"], "nas device import needs a table"),
        (["calibrate", "x"], "takes no name, but got 'x'"),
        (["list", "--threads", "2"], "nas device list does not use --threads"),
        (["show"], "No calibrations yet"),
        (["show", "none"], "Unknown calibration 'none'"),
        (["show", "../x"], "A calibration's name has letters"),
        (["calibrate", "--setting", "cpu", "--threads", "1"], "--threads and --setting cpu both say the setting"),
        (["calibrate", "--setting", "gpu"], "Unknown device 'gpu'"),
        (["calibrate", "--device", "cuda:7"], "cuda devices here"),
        (["calibrate", "--space", "coatnet-smal"], "coatnet-small"),
        (["import", "nowhere.json"], "Cannot read nowhere.json"),
        (["script", "--space", "coatnet-small", "--setting", "cpu"], "A script measures in ONNX Runtime"),
    ],
)
def test_bad_input_is_refused_in_one_line(words, said, capsys):
    assert main(["device", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_column_has_to_be_named_where_there_are_two(tmp_path, capsys):
    table = tmp_path / "published.csv"
    table.write_text(TABLE)
    assert main(["device", "import", str(table), "--setting", "cpu"]) == 2
    assert "more than one column of latencies: images_per_s a, latency_ms b" in capsys.readouterr().err
