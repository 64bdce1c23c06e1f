"""`nas device`: latency models of devices: calibrated here, imported from elsewhere, listed and described."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.console import Console, table
from nas.cli.parsing import add_declared, reader
from nas.errors import OptionError
from nas.formats import duration
from nas.options import declared, flag
from nas.options.device_options import DeviceOptions
from nas.options.kinds import Text
from nas.registry import unknown
from nas.setting import Setting

if TYPE_CHECKING:
    from nas.latency.device_model import DeviceModel
    from nas.spaces import SearchSpace

DESCRIPTION = """\
Latency models: what predicts how long a network takes on a device, with its own error beside two
baselines. They are kept in the user's cache folder.

  nas device calibrate --space coatnet-small --threads 1    # measure networks here, fit a model
  nas device calibrate --setting onnxruntime:threads=2      # networks of the zoo
  nas device list
  nas device show                                           # the newest, or one by its name
  nas device script --space coatnet-small --setting onnxruntime > bench.py
  nas device import latencies.json                          # what bench.py printed elsewhere
  nas device import published.csv --setting cuda:batch=256,dtype=float16 --column images_per_s"""

_ACTIONS = ("list", "show", "calibrate", "import", "script")
_SETTING = ("setting", "runtime", "device", "threads", "batch", "dtype")
_USES = {
    "list": (),
    "show": (),
    "calibrate": ("space", "resolution", "time", "networks", "blocks", "seed", "recalibrate", *_SETTING),
    "import": ("space", "name", "column", "network_column", "resolution_column", "folded", *_SETTING),
    "script": ("space", "resolution", "networks", "seed", *_SETTING),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", type=reader("action", Text()), metavar="ACTION", help=f"{', '.join(_ACTIONS)}")
    parser.add_argument(
        "target",
        nargs="?",
        type=reader("target", Text()),
        metavar="NAME",
        help="after show: a calibration's name; after import: a table, CSV or JSON",
    )
    add_declared(parser, DeviceOptions)


def run(args: argparse.Namespace, console: Console) -> None:
    given = dict(vars(args))
    action, target = given.pop("action"), given.pop("target", None)
    if action not in _ACTIONS:
        raise OptionError(unknown("action of nas device", action, _ACTIONS))
    for name in declared(DeviceOptions):
        if name in given and name not in _USES[action]:
            raise OptionError(f"nas device {action} does not use {flag(name)}: leave it out.")
    if (target is None and action == "import") or (target is not None and action not in ("show", "import")):
        needs = "needs a table: a CSV or JSON file" if action == "import" else f"takes no name, but got {target!r}"
        raise OptionError(f"nas device {action} {needs}.")
    options = DeviceOptions(**{name: value for name, value in given.items() if name in declared(DeviceOptions)})
    actions: Mapping[str, Callable[[str | None, DeviceOptions, Console], None]] = {
        "list": _list,
        "show": _show,
        "calibrate": _calibrate,
        "import": _import,
        "script": _script,
    }
    actions[action](target, options, console)


def _list(target: str | None, options: DeviceOptions, console: Console) -> None:
    from nas.latency import store

    models = {name: store.load(name) for name in store.names()}
    console.document([{"name": name, **summary(model)} for name, model in models.items()])
    if not models:
        console.say("No calibrations yet. Make one: nas device calibrate --space coatnet-small")
        return
    rows = [
        [name, str(m.device.setting), m.device.name, m.created[:10], str(m.networks), f"{m.error.mape:.1%}"]
        for name, m in models.items()
    ]
    for line in table(["name", "setting", "device", "date", "networks", "MAPE"], rows, left=(0, 1, 2, 3)):
        console.say(line)


def _show(target: str | None, options: DeviceOptions, console: Console) -> None:
    from nas.latency import store

    known = store.names()
    if target is None and not known:
        raise OptionError("No calibrations yet. Make one: nas device calibrate --space coatnet-small")
    name = target or known[-1]
    _answer(name, store.load(name), console)


def _calibrate(target: str | None, options: DeviceOptions, console: Console) -> None:
    setting, space = _setting(options), _space(options)
    from nas.latency import store
    from nas.latency.budgets import calibrate_here, device_here

    device = device_here(setting)
    name = store.model_name(device, store.measured_space(space) if space else "")
    found = None if options.recalibrate or not store.path_of(name).is_file() else store.load(name)
    if found is None:
        console.again = "the same command; what was measured is kept"
        console.note(
            f"Measures up to {options.networks} networks at {device.setting} on {device.name}, "
            f"for {duration(options.time)} or a little more."
        )
        found = calibrate_here(
            setting,
            space,
            minutes=options.time / 60,
            networks=options.networks,
            blocks=options.blocks,
            seed=options.seed,
            progress=console.progress,
        )
    else:
        found.check(device, name, f"{store.calibrating(device.setting, space)} --recalibrate")
        console.note(f"Calibrated on {found.created[:10]} already; --recalibrate measures again.")
    _answer(name, found, console)


def _import(target: str | None, options: DeviceOptions, console: Console) -> None:
    assert target is not None
    from nas.latency import store
    from nas.latency.calibration import model_of
    from nas.latency.device_model import Device
    from nas.latency.latency_table import read_json

    path = Path(target)
    if path.suffix.lower() == ".json":
        found = read_json(path)
        device, space, networks, folded = found.device, found.space, found.networks, True
        if any(getattr(options, name) is not None for name in _SETTING):
            raise OptionError(f"{path} says its setting itself ({device.setting}): leave out --setting.")
        for name in ("space", "column", "network_column", "resolution_column", "folded"):
            if getattr(options, name) != getattr(DeviceOptions(), name):
                raise OptionError(f"{path} is not a CSV table, and says that itself: leave out {flag(name)}.")
    else:
        setting = _setting(options)
        networks, folded, space = _csv_rows(path, options, setting), options.folded, options.space or ""
        device = Device(name=options.name or path.stem, runtime=setting.runtime, setting=setting)
    model = model_of(networks, device=device, space=space, source=path.name, folded=folded)
    name = options.name or store.model_name(device, space)
    store.save(model, name)
    _answer(name, model, console)


def _csv_rows(path: Path, options: DeviceOptions, setting: Setting) -> Any:
    from nas.benchmark.tables import read_table
    from nas.latency.latency_table import NETWORK_NAMES, RESOLUTION_NAMES, latency_column, measured_rows

    rows = read_table(path)
    column = latency_column(list(rows.columns), options.column, str(path))
    figures = rows.numbers(column, "--column")
    names = rows.column(rows.architecture_column(options.network_column, NETWORK_NAMES), "--network-column")
    sides = options.resolution_column or next((name for name in RESOLUTION_NAMES if name in rows.columns), None)
    resolutions = None if sides is None else rows.numbers(sides, "--resolution-column")
    return measured_rows(names, figures, resolutions, column=column, setting=setting, where=str(path))


def _script(target: str | None, options: DeviceOptions, console: Console) -> None:
    setting, space = _setting(options), _space(options)
    from nas.latency.bench_script import bench_script

    text = bench_script(space, setting, networks=options.networks, seed=options.seed, progress=console.progress)
    console.document({"script": text})
    for line in text.splitlines():
        console.say(line)
    console.note("Run it there: python bench.py > latencies.json; then here: nas device import latencies.json")


def _setting(options: DeviceOptions) -> Setting:
    """Returns the setting that --setting gives, or the options of its parts."""
    parts = {name: getattr(options, name) for name in _SETTING[1:] if getattr(options, name) is not None}
    if options.setting is None:
        return Setting(**parts)
    if parts:
        raise OptionError(
            f"{flag(next(iter(parts)))} and --setting {options.setting} both say the setting: give one of them."
        )
    return Setting.parse(options.setting)


def _space(options: DeviceOptions) -> SearchSpace | None:
    if options.space is None:
        if options.resolution is not None:
            raise OptionError(
                "--resolution is for networks of a --space; those of the zoo are measured at their own. Leave it out."
            )
        return None
    from nas.spaces import catalog

    catalog.find(options.space)  # an unknown name answers before torch is imported
    from nas.costs import sized_space
    from nas.networks.loading import load_space

    return sized_space(load_space(options.space), options.resolution)


def summary(model: DeviceModel) -> dict[str, Any]:
    """A model as plain data, without the numbers that predict."""
    return {
        "device": model.device.name,
        "runtime": model.device.runtime,
        "setting": str(model.device.setting),
        "version": model.device.version,
        "space": model.space,
        "source": model.source,
        "created": model.created,
        "folded": model.folded,
        "networks": model.networks,
        "errors": {name: error.to_dict() for name, error in model.errors.items()},
    }


def _answer(name: str, model: DeviceModel, console: Console) -> None:
    console.document({"name": name, **summary(model)})
    for line in model_lines(name, model):
        console.say(line)


def model_lines(name: str, model: DeviceModel) -> list[str]:
    """A model for people."""
    of = f"networks of {model.space}" if model.space else "networks"
    lines = [
        f"{name}: {model.device.setting} on {model.device.name}",
        f"{model.device.runtime}, hybrid-nas {model.device.version}; {model.networks} {of}, {model.source}, "
        f"{model.created[:10]}",
        "",
    ]
    rows = [
        [
            title,
            f"{error.mape:.1%}",
            f"{error.within_5:.0%}",
            f"{error.within_10:.0%}",
            "-" if error.spearman is None else f"{error.spearman:.3f}",
        ]
        for title, error in model.errors.items()
    ]
    lines += table(["", "MAPE", "within 5 %", "within 10 %", "Spearman"], rows)
    noise = format_percent(model.correction.scales.noise)
    return [*lines, "", f"On {model.error.n} networks left out of the fit; measurements scatter by {noise} by the fit."]


def format_percent(share: float) -> str:
    """A share for people: "2.3 %"."""
    return f"{100 * share:.1f} %"
