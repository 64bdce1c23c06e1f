"""`nas train`: trains one network, by the same code that trains a search's finalists."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from nas.cli.console import Console, plain
from nas.cli.parsing import add_declared, reader
from nas.options import SearchOptions, declared
from nas.options.kinds import Text

DESCRIPTION = """\
Train one network on your images, from scratch or from given weights.

  nas train runs/a/winners/1/architecture.yaml --data path/to/images --epochs 100
  nas train coatnet_0 --data path/to/images --out runs/coatnet_0"""

_OPTIONS = (
    "data", "out", "recipe", "seed", "resolution", "train_resolution", "metric", "augment", "on_corrupt", "onnx",
    "device", "threads", "batch_size", "dtype", "compile",
)  # fmt: skip

_INSTEAD = {
    "data": {"default_help": "digits"},
    "out": {"help": "folder of the training"},
    "recipe": {"help": "training recipe: default, finetune, long, or a YAML file"},
    "seed": {"help": "random seed of the training"},
    "resolution": {"default_help": "the network's own", "group": "data and training"},
    "onnx": {"help": "write a model.onnx"},
    "compile": {"help": "compile the training steps with torch.compile; needs a C++ compiler, on GPUs Triton"},
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", type=reader("config", Text()), metavar="CONFIG", help="an architecture.yaml, or a zoo name"
    )
    epochs = declared(SearchOptions)["finalist_epochs"].kind
    parser.add_argument(
        "--epochs",
        type=reader("epochs", epochs),
        metavar="N",
        help="passes over the training images (default: planned)",
    )
    parser.add_argument(
        "--weights", type=reader("weights", Text()), metavar="FILE", help="a .safetensors file of initial weights"
    )
    parser.add_argument(
        "--teacher",
        type=reader("teacher", Text()),
        metavar="FOLDER",
        help="folder of an exported network, or of a nas train, with the same classes: its soft labels are learned too",
    )
    add_declared(parser, SearchOptions, _OPTIONS, instead=_INSTEAD)


def run(args: argparse.Namespace, console: Console) -> None:
    given = dict(vars(args))
    config = given.pop("config")
    from nas.spaces import catalog

    catalog.find(config, zoo=True)  # checks the name before torch is imported
    from nas.networks.loading import load_architecture
    from nas.pipeline.train import train
    from nas.pipeline.training_inputs import import_begun
    from nas.run import out_folder
    from nas.run.files import expanded

    out = given.pop("out", None)
    if out is not None:
        import_begun(Path(expanded(out)))  # ops of one's own, which the network may need
    architecture = load_architecture(config)
    start = {name: given.pop(name, None) for name in ("weights", "teacher")}
    epochs = given.pop("epochs", None)
    options = SearchOptions.of(space=config, finalist_epochs=epochs, **given)
    options.validate()
    with out_folder(out, "train") as folder:
        console.again = f"the same command with --out {shlex.quote(str(folder))}"
        found = plain(train(architecture, out=folder, options=options, **start, progress=console.progress))
    console.document(found)
    for line in training_lines(found):
        console.say(line)


def training_lines(found: dict[str, Any]) -> list[str]:
    """Returns the lines of a training's result: each value by its name."""
    accuracy = str(found.get("metric", "accuracy")).replace("-", " ")
    names = {"search_validation_accuracy": f"validation {accuracy}", "test_accuracy": f"test {accuracy}"}
    shown = {
        names.get(key, key.replace("_", " ")): value
        for key, value in found.items()
        if isinstance(value, str | int | float)
    }
    width = max(map(len, shown), default=0)
    return [
        f"{key.ljust(width)}  {f'{value:.4f}' if isinstance(value, float) else value}" for key, value in shown.items()
    ]
