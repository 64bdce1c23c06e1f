"""`nas weights convert`: trained weights from elsewhere as a file that `--weights` takes."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from nas.cli.console import Console, plain
from nas.cli.parsing import reader
from nas.errors import OptionError
from nas.options.kinds import Text, Whole, shown
from nas.registry import unknown

DESCRIPTION = """\
Convert trained weights of a network of the zoo (`nas zoo`) once, from a .pth file of timm's or of a
port, to a .safetensors file for --weights. No code in the .pth file runs, and nothing is downloaded.

  nas weights convert efficientnet-lite0-57934424.pth --network tf_efficientnet_lite0 --out lite0.safetensors

The file also records the mean and standard deviation that images are normalized by: --mean and --std, or
else those of timm's own weights of the network. For tf_efficientnet_lite0, whose ports disagree, both are
0.5 (experiments/lite0-normalization in the repository has the evidence)."""

_ACTIONS = ("convert",)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", type=reader("action", Text()), metavar="ACTION", help=", ".join(_ACTIONS))
    parser.add_argument("file", type=reader("file", Text()), metavar="FILE", help="a .pth or .safetensors file")
    parser.add_argument("--network", type=reader("network", Text()), metavar="NAME", help="zoo name of the network")
    parser.add_argument("--out", type=reader("out", Text()), metavar="FILE", help="the .safetensors file to write")
    parser.add_argument(
        "--num-classes",
        type=reader("num_classes", Whole(2, 1_000_000, 10)),
        metavar="N",
        help="classes of the weights (default: the zoo's)",
    )
    for name, what in (("mean", "means"), ("std", "standard deviations")):
        parser.add_argument(
            f"--{name}", type=_numbers(name), metavar="R,G,B", help=f"{what} that images in 0 to 1 are normalized by"
        )


def run(args: argparse.Namespace, console: Console) -> None:
    given = dict(vars(args))
    action, file = given.pop("action"), given.pop("file")
    if action not in _ACTIONS:
        raise OptionError(unknown("action of nas weights", action, _ACTIONS))
    for name, example in (("network", "tf_efficientnet_lite0"), ("out", "weights.safetensors")):
        if name not in given:
            raise OptionError(f"nas weights convert needs --{name}, such as --{name} {example}.")
    if ("mean" in given) != ("std" in given):
        raise OptionError("--mean and --std go together: give both, or neither for those of timm's weights.")
    from nas.spaces import catalog

    catalog.find(given["network"], zoo=True)  # checks the name before torch is imported
    from nas.networks.timm.checkpoints import convert_weights

    found = convert_weights(file, **given)
    console.document(plain(found))
    mean, std = (" ".join(f"{number:g}" for number in each) for each in (found.mean, found.std))
    console.say(f"{found.path}: {found.network}, {found.params:,} parameters, {found.classes} classes")
    console.say(f"images in 0 to 1 are normalized by mean {mean} and standard deviation {std}")


def _numbers(name: str) -> Callable[[str], tuple[float, ...]]:
    low = 0.0 if name == "mean" else 1e-6

    def read(word: str) -> tuple[float, ...]:
        words = word.split(",")
        numbers = tuple(float(each) for each in words if re.fullmatch(r"[0-9]*\.?[0-9]+", each))
        if len(numbers) != 3 or len(words) != 3 or not all(low <= number <= 1 for number in numbers):
            raise OptionError(
                f"--{name} must be three numbers of at most 1 for images in 0 to 1, but got {shown(word)}: give such "
                f"as --{name} {'0.485,0.456,0.406' if name == 'mean' else '0.229,0.224,0.225'}."
            )
        return numbers

    return read
