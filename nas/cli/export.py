"""`nas export`: a winner of a run, or the network of a `nas train`, as a folder that does not need this package."""

from __future__ import annotations

import argparse

from nas.cli.console import Console, plain
from nas.cli.parsing import reader
from nas.options.export_formats import DEFAULT_FORMATS, EXPORT_FORMATS
from nas.options.kinds import Choice, Text, Whole

DESCRIPTION = """\
Export a winner of a run, or the network of a nas train, in formats that are checked to give the
same output (int8: measured, how far it is off). It is written to exports/N in the folder,
replacing an earlier export; winners/N and network are left alone.

  nas export runs/a --rank 2 --format onnx
  nas export runs/a --format code,weights,openvino,int8"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        type=reader("run", Text()),
        metavar="RUN",
        help="a run folder or its URL, or a folder that nas train wrote",
    )
    parser.add_argument("--rank", type=reader("rank", Whole(1, 1000, 1)), metavar="N", help="which winner (default: 1)")
    parser.add_argument(
        "--format",
        dest="formats",
        action="extend",
        type=_formats,
        metavar="F,F",
        help=f"{', '.join(EXPORT_FORMATS)}; several with commas, or given again (default: {','.join(DEFAULT_FORMATS)})",
    )


def run(args: argparse.Namespace, console: Console) -> None:
    given = vars(args)
    rank = given.get("rank", 1)
    formats = tuple(dict.fromkeys(given["formats"])) if "formats" in given else None
    from nas.run import is_training, read_run
    from nas.run.remote import local_copy

    folder = local_copy(given["folder"], console.note)

    if not is_training(folder):
        read_run(folder)  # checks the run before torch is imported
    from nas.export import export_run
    from nas.latency import time_runs

    written = plain(export_run(folder, rank, formats, timer=time_runs))
    console.document({"run": str(folder), "rank": rank, **written})
    for name in written["files"]:
        console.say(f"{written['path']}/{name}")
    if formats is None and written.get("onnx_skipped"):
        console.note(f"No model.onnx: {written['onnx_skipped']}")
    for caution in written["cautions"]:
        console.warn(caution)


def _formats(word: str) -> list[str]:
    """The formats of a word such as "code,onnx"."""
    read = reader("format", Choice(lambda: EXPORT_FORMATS))
    return [read(name.strip()) for name in word.split(",")]
