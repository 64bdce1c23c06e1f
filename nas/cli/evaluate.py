"""`nas evaluate`: how well an exported network does on a data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nas.cli.console import Console, plain, table
from nas.cli.parsing import add_declared, reader
from nas.errors import OptionError
from nas.formats import ABSENT
from nas.options import check_values
from nas.options.inference_options import EvaluateOptions
from nas.options.kinds import Text

DESCRIPTION = """\
Evaluate a network that nas-search or nas train wrote on the test split of a data set: accuracy,
balanced accuracy, expected calibration error, each class, and the confusion matrix as a picture and
as CSV. If the data has no test split: for the data of the training, the split of the training is
made again; of any other data, all images are used.

  nas evaluate runs/a/winners/1 --data path/to/images"""

_MOST_CLASSES = 100


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "winner", type=reader("winner", Text()), metavar="WINNER", help="a winner's folder, or one that nas train wrote"
    )
    add_declared(parser, EvaluateOptions)


def run(args: argparse.Namespace, console: Console) -> None:
    given = dict(vars(args))
    winner = given.pop("winner")
    if "data" not in given:
        raise OptionError("An evaluation needs images: give --data, such as --data path/to/images.")
    options = EvaluateOptions(**given)
    check_values(options)
    from nas.run import exported_folder, out_folder
    from nas.run.files import check_writable, expanded

    exported_folder(winner)  # checked, like the folder below, before torch is imported
    if options.out is not None:
        check_writable(Path(expanded(options.out)))
    from nas.inference import Classifier, evaluate_exported
    from nas.inference.outputs import write_evaluation

    classifier = Classifier(winner, device=options.device)
    evaluation = evaluate_exported(
        classifier,
        options.data,
        on_corrupt=options.on_corrupt,  # type: ignore[arg-type]
        batch_size=options.batch_size,
        progress=console.progress,
    )
    with out_folder(options.out, "evaluation") as folder:
        written = write_evaluation(folder, evaluation)
    found = plain(evaluation.to_dict())
    console.document({"winner": str(classifier.folder), **found, "files": plain(written)})
    for line in evaluation_lines(found):
        console.say(line)
    console.say()
    for path in written:
        console.say(str(path))


def evaluation_lines(found: dict[str, Any]) -> list[str]:
    """Returns the figures, then a table of the classes, each with what its images were mostly mistaken for."""
    names = [each["name"] for each in found["classes"]]
    rows = [
        [
            each["name"],
            f"{each['images']:,}",
            *(ABSENT if each[share] is None else f"{each[share]:.4f}" for share in ("recall", "precision")),
            _mistaken(names, i, found["confusion"][i]),
        ]
        for i, each in enumerate(found["classes"])
    ]
    more = [f"and {len(rows) - _MOST_CLASSES:,} more in classes.csv"] if len(rows) > _MOST_CLASSES else []
    return [
        f"{found['images']:,} images: {found['split']}",
        "",
        f"accuracy                    {found['accuracy']:.4f} ± {found['accuracy_error']:.4f}",
        f"balanced accuracy           {found['balanced_accuracy']:.4f}",
        f"expected calibration error  {found['calibration_error']:.4f}",
        "",
        *table(["class", "images", "recall", "precision", "mistaken for"], rows[:_MOST_CLASSES], left=(0, 4)),
        *more,
    ]


def _mistaken(names: list[str], true: int, row: list[int]) -> str:
    """Returns the class that most of a class's mistaken images were taken for, with their number; "" for none."""
    wrong = [0 if i == true else count for i, count in enumerate(row)]
    most = max(wrong)
    return f"{names[wrong.index(most)]} ({most:,})" if most else ""
