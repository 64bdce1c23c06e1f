"""`nas predict`: the most probable classes of image files, by an exported network."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from nas.cli.console import Console, plain
from nas.cli.parsing import add_declared, reader
from nas.errors import DataError
from nas.formats import first_few
from nas.options import check_values
from nas.options.inference_options import PredictOptions
from nas.options.kinds import Text

DESCRIPTION = """\
Predict the classes of images with a network that nas-search or nas train wrote. Images are read
as in its training. Files that cannot be read are named, and the exit status is then 2.

  nas predict runs/a/winners/1 photo.jpg
  nas predict runs/a/winners/1 photos/ 'more/*.png' --top 3 --json"""

_NAMED = 5


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "winner", type=reader("winner", Text()), metavar="WINNER", help="a winner's folder, or one that nas train wrote"
    )
    parser.add_argument(
        "images",
        nargs="+",
        type=reader("images", Text()),
        metavar="IMAGES",
        help="image files, folders of them at any depth, or patterns such as 'photos/*.jpg'",
    )
    add_declared(parser, PredictOptions)


def run(args: argparse.Namespace, console: Console) -> None:
    given = dict(vars(args))
    winner, words = given.pop("winner"), given.pop("images")
    options = PredictOptions(**given)
    check_values(options)
    from nas.run import exported_folder

    exported_folder(winner)  # checked before torch is imported
    from nas.inference.files import find_images

    images = find_images(words)
    from nas.inference import Classifier, predict

    for line in images.left_out:
        console.note(f"Left out: {line}")
    classifier = Classifier(winner, device=options.device)
    found = predict(classifier, images.paths, top=options.top, batch_size=options.batch_size, progress=console.progress)
    predictions = [each for each in plain(found) if each["error"] is None]
    unreadable = [{"path": each.path, "error": each.error} for each in found if each.error is not None]
    console.document(
        {
            "winner": str(classifier.folder),
            "predictions": [{"path": each["path"], "classes": each["classes"]} for each in predictions],
            "unreadable": unreadable,
        }
    )
    for line in prediction_lines(predictions):
        console.say(line)
    if unreadable:
        named = first_few([f"{each['path']} ({each['error']})" for each in unreadable], _NAMED, "; ")
        raise DataError(f"{len(unreadable)} of {len(found):,} images cannot be read: {named}.")


def prediction_lines(predictions: Sequence[dict[str, Any]]) -> list[str]:
    """Returns a line for each image: "photo.jpg: cat 93.1%, dog 5.0%"."""
    return [f"{each['path']}: {', '.join(map(_class_text, each['classes']))}" for each in predictions]


def _class_text(found: dict[str, Any]) -> str:
    return f"{found['name']} {found['probability']:.1%}"
