"""Latency models on made-up latencies, their files, and what is refused."""

import json
import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from nas.errors import DataError, LatencyError
from nas.latency import store
from nas.latency.calibration import BATCH, calibrate, model_of
from nas.latency.device_model import Device, DeviceModel
from nas.latency.features import COLUMNS, blocks_of, total_work
from nas.latency.latency_table import LatencyTable, Measured, latency_column, measured_rows, read_json
from nas.latency.model_error import prediction_error
from nas.latency.work_model import PRIOR
from nas.networks.loading import load_space
from nas.setting import Setting

DEVICE = Device(name="made up", runtime="torch 0", setting=Setting(threads=1))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def space():
    return load_space("coatnet-small")


@pytest.fixture(scope="module")
def networks(space):
    rng = random.Random(3)
    return list(dict.fromkeys(space.sample(rng) for _ in range(60)))


def law(architecture, beyond=0.0):
    """A device that is slow at depthwise convolutions and fast at norms; `beyond` is what does not add up."""
    rates = PRIOR * 2e-11
    rates[COLUMNS.index("depthwise macs")] *= 5
    rates[COLUMNS.index("norm elements")] *= 0.2
    work = total_work(blocks_of(architecture))
    seconds = float(work @ rates)
    attention = work[COLUMNS.index("attention calls")] / 20
    return seconds * (1 + beyond * attention)


def measured(architectures, beyond=0.0):
    return [Measured(architecture=each, latency_s=law(each, beyond)) for each in architectures]


def made_up(architectures, beyond=0.0, **asked):
    return model_of(measured(architectures, beyond), device=DEVICE, space="s", source="test", folded=True, **asked)


def test_work_is_that_of_the_exact_counter(networks):
    from nas.costs import cost

    macs = [i for i, column in enumerate(COLUMNS) if column.endswith(" macs")]
    for network in networks[:5]:
        assert total_work(blocks_of(network, folded=False))[macs].sum() == cost(network).macs


@pytest.mark.parametrize(("beyond", "most"), [(0.0, 0.01), (0.15, 0.03)])
def test_a_law_is_recovered_from_other_networks(networks, beyond, most):
    model = made_up(networks[:40], beyond)
    unseen = networks[40:]
    error = prediction_error(model.predict_all(unseen), [law(each, beyond) for each in unseen])
    assert error.mape < most
    assert model.errors["line on MACs"].mape > 3 * error.mape


def test_blocks_add_up_to_the_network_where_the_law_is_a_sum(networks):
    model = made_up(networks[:40])
    from nas.ops import Shape

    network = networks[50]
    shape, total = Shape(3, network.input.resolution, network.input.resolution), 0.0
    parts = [network.stem]
    for stage in network.stages:
        parts += [stage.transition] if stage.transition else []
        parts += [branch for layer in stage.layers for branch in layer.branches]
    from nas.networks.network import shape_after

    for part in [*parts, network.head]:
        total += model.predict_block(part, shape)
        shape = shape_after(part, shape)
    assert total == pytest.approx(law(network), rel=0.02)


def test_a_file_gives_the_same_model(networks):
    model = made_up(networks[:20])
    again = DeviceModel.from_json(model.to_json(), "file")
    assert np.array_equal(again.predict_all(networks), model.predict_all(networks))
    assert (again.device, again.errors, again.created) == (model.device, model.errors, model.created)


def test_a_damaged_file_is_refused(networks):
    plain = json.loads(made_up(networks[:20]).to_json())
    spoiled = [
        "{",
        json.dumps({**plain, "format": 2}),
        json.dumps({**plain, "extra": 1}),
        json.dumps({**plain, "rates": {**plain["rates"], "weights": -1.0}}),
        json.dumps({**plain, "errors": {}}),
        json.dumps({**plain, "correction": {**plain["correction"], "weights": [1.0]}}),
        json.dumps({**plain, "device": {**plain["device"], "setting": "gpu"}}),
    ]
    for text in spoiled:
        with pytest.raises(LatencyError, match="not a calibration"):
            DeviceModel.from_json(text, "file")


def test_another_device_version_or_setting_is_refused_with_the_differences(networks):
    model = made_up(networks[:20])
    other = Device(name="made up", runtime="torch 1", setting=Setting(threads=2))
    with pytest.raises(
        LatencyError, match=r"torch 0, not torch 1; setting cpu:threads=1, not cpu:threads=2.*: nas device calibrate"
    ):
        model.check(other, "x", "nas device calibrate")
    model.check(DEVICE, "x", "nas device calibrate")


def test_a_calibration_goes_on_where_it_was_stopped(space):
    calls = []

    def measure(architectures, setting):
        calls.append(len(architectures))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return [SimpleNamespace(median_s=law(each)) for each in architectures]

    with pytest.raises(KeyboardInterrupt):
        calibrate(space, DEVICE, measure, networks=4 * BATCH)
    model = calibrate(space, DEVICE, measure, networks=4 * BATCH)
    assert calls == [BATCH] * 5
    assert (model.networks, model.error.n) == (4 * BATCH, 2 * BATCH)
    assert model.error.mape < 0.05
    name = store.model_name(DEVICE, store.measured_space(space))
    assert store.names() == [name]
    assert store.find(DEVICE, space).networks == model.networks
    assert store.find(DEVICE, space.adapted(resolution=2 * space.input.resolution)) is None
    assert not store.unfinished(name).exists()


@pytest.mark.parametrize("damaged", [False, True])
def test_a_calibration_goes_on_from_fewer_networks_than_a_model_needs(space, damaged):
    def measure(architectures, setting):
        nonlocal told
        told += 1
        if told == 2:
            raise KeyboardInterrupt
        kept = 3 if told == 1 else BATCH
        latencies = [SimpleNamespace(median_s=law(each)) for each in architectures[:kept]]
        return [*latencies, *[LatencyError("too noisy")] * (BATCH - kept)]

    told = 0
    with pytest.raises(KeyboardInterrupt):
        calibrate(space, DEVICE, measure, networks=2 * BATCH)
    if damaged:
        part = store.unfinished(store.model_name(DEVICE, store.measured_space(space)))
        part.write_text(part.read_text()[:-50])
    model = calibrate(space, DEVICE, measure, networks=2 * BATCH)
    assert model.networks == (2 * BATCH if damaged else 2 * BATCH + 3)


def test_a_noisy_network_is_left_out_alone(space):
    left_out = []

    def measure(architectures, setting):
        left_out.append(architectures[0].digest)  # one of those sampled at random
        return [LatencyError("too noisy"), *(SimpleNamespace(median_s=law(each)) for each in architectures[1:])]

    model = calibrate(space, DEVICE, measure, networks=2 * (BATCH - 1))
    assert (model.networks, model.error.n, len(left_out)) == (2 * (BATCH - 1), 2 * (BATCH // 2 - 1), 2)


def test_a_calibration_gives_up_where_the_machine_is_too_noisy(space):
    def measure(architectures, setting):
        return [LatencyError("too noisy")] * len(architectures)

    with pytest.raises(LatencyError, match="too noisy"):
        calibrate(space, DEVICE, measure)


def test_a_table_of_latencies_is_read_back(networks, tmp_path):
    path = tmp_path / "latencies.json"
    table = LatencyTable(
        device=DEVICE, space="s", networks=(replace(measured(networks)[6], sampled=False), *measured(networks[:6]))
    )
    path.write_text(table.to_json())
    assert read_json(path) == table
    plain = json.loads(table.to_json())
    for value, said in ((None, "missing"), (-1.0, "above 0"), (0, "above 0")):
        rows = [{**plain["networks"][0], "latency_s": value}, *plain["networks"][1:]]
        path.write_text(json.dumps({**plain, "networks": rows}))
        with pytest.raises(DataError, match=f"network 1: latency_s.*{said}"):
            read_json(path)
    path.write_text(table.to_json().replace('"latency_s": ', '"latency_s": 1e999, "x": ', 1))
    with pytest.raises(DataError, match="not what a script"):
        read_json(path)


NAMES = ("coatnet_0", "pit_s", "pit_b", "edgenext_xxs", "edgenext_xs")


def rows(figures, names=NAMES, column="images_per_s", setting=DEVICE.setting):
    return measured_rows(names, figures, None, column=column, setting=setting, where="t.csv")


def test_rows_are_seconds_of_one_batch():
    assert [each.latency_s for each in rows([2.0] * 5)] == [0.5] * 5
    assert [each.latency_s for each in rows([2.0] * 5, setting=Setting(batch=8))] == [4.0] * 5
    assert [each.latency_s for each in rows([2.0] * 5, column="latency_ms of a")] == [0.002] * 5


@pytest.mark.parametrize(
    ("figures", "names", "said"),
    [
        ([1.0, float("nan"), 1.0, 1.0, 1.0], NAMES, "line 3: images_per_s is missing"),
        ([1.0, float("inf"), 1.0, 1.0, 1.0], NAMES, "line 3: images_per_s must be a finite number above 0"),
        ([1.0, 1.0, -2.0, 1.0, 1.0], NAMES, "line 4: images_per_s must be a finite number above 0, but is -2"),
        ([1.0] * 5, ("coatnet_0", *NAMES[:4]), "line 3: coatnet_0 stands there twice"),
        ([1.0] * 5, ("coatnet_zero", *NAMES[1:]), "line 2: .*coatnet_zero"),
        ([1.0], NAMES[:1], "too few"),
    ],
)
def test_a_bad_table_is_refused_with_the_line(figures, names, said):
    with pytest.raises((DataError, LatencyError), match=said):
        rows(figures, names)


def test_the_column_of_latencies_must_say_its_unit():
    assert latency_column(["name", "latency_ms"], None, "t") == "latency_ms"
    assert latency_column(["name", "latency_std_ms", "latency_s_p50"], None, "t") == "latency_s_p50"
    with pytest.raises(DataError, match="no column of latencies"):
        latency_column(["name", "speed"], None, "t")
    with pytest.raises(DataError, match="more than one"):
        latency_column(["latency_ms", "images_per_s a"], None, "t")
    with pytest.raises(DataError, match="does not say its unit"):
        rows([1.0] * 5, column="speed")
