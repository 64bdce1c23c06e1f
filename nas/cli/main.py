"""`nas` and `nas-search`: finds the command, runs it, and turns errors into one line and an exit status.

0 done; 1 a bug (with its traceback); 2 an error that the user can fix; 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Protocol

from nas.cli.console import Console
from nas.cli.interrupts import INTERRUPTED, interruptible
from nas.cli.parsing import Parser, add_import_option, add_output_options, import_files, words_of_flag
from nas.cli.streams import open_standard_streams
from nas.errors import NasError, OptionError
from nas.registry import unknown
from nas.run.signals import SIGNALS

# Command -> (module, what it does). A module is imported only when its command runs.
COMMANDS = {
    "search": ("nas.cli.search", "search a space for the best networks within a budget (also: nas-search)"),
    "train": ("nas.cli.train", "train one network from scratch, or from given weights"),
    "predict": ("nas.cli.predict", "predict the classes of images with an exported network"),
    "evaluate": ("nas.cli.evaluate", "evaluate an exported network on a data set"),
    "profile": ("nas.cli.profile", "count a network's multiply-adds and parameters, and measure its latency"),
    "device": ("nas.cli.device", "calibrate a latency model of a device, import one, or list them"),
    "spaces": ("nas.cli.spaces", "list, describe or derive search spaces, or propose one for your images"),
    "zoo": ("nas.cli.zoo", "list the named networks"),
    "weights": ("nas.cli.weights", "convert trained weights from elsewhere for --weights"),
    "ops": ("nas.cli.ops", "list the ops that networks are made of, with their parameters"),
    "rank": ("nas.cli.rank", "compare scores with known accuracies and with the baselines"),
    "report": ("nas.cli.report", "rebuild a run's report and plots"),
    "export": ("nas.cli.export", "export a winner of a run, or the network of a training"),
    "status": ("nas.cli.status", "show how far a run is, what is best so far, and what to do next"),
    "runs": ("nas.cli.runs", "list the runs in a folder: state, size on disk, trials, best, when"),
    "diff": ("nas.cli.diff", "show how two architectures differ, stage by stage, and what that costs"),
    "config": ("nas.cli.config", "write all options of a search as a YAML file for nas-search --config"),
}
# System errors that a user can fix, if none of our own messages covers them.
_MENDABLE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
)


# How often a waiting OpenMP thread spins before it sleeps. With GNU OpenMP's default it practically never sleeps: if
# another program takes a core, a training step on two threads took 1.9 to 9 s instead of 0.5 s. On an idle machine
# it makes no difference (0.17 s either way). It must be set before torch is loaded.
_SPINS = {"GOMP_SPINCOUNT": "2000"}
# Pictures are files. The shell of a notebook names a backend that only its kernel is sure to have.
_BACKEND = {"MPLBACKEND": "agg"}


class Command(Protocol):
    """The interface of a command's module."""

    DESCRIPTION: str

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None: ...

    @staticmethod
    def run(args: argparse.Namespace, console: Console) -> None: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command `nas`; returns the exit status."""
    _set_libraries()
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        return _written(lambda: print(_overview()))
    if words[0] == "--version":
        from nas.version import __version__

        return _written(lambda: print(f"hybrid-nas {__version__}"))
    return _ended(_written(lambda: run_command(words[0], words[1:], prog=f"nas {words[0]}")), argv)


def main_search(argv: Sequence[str] | None = None) -> int:
    """Runs the command `nas-search`, the same as `nas search`; returns the exit status."""
    _set_libraries()
    words = list(sys.argv[1:] if argv is None else argv)
    return _ended(_written(lambda: run_command("search", words, prog="nas-search")), argv)


def run_command(name: str, argv: Sequence[str], *, prog: str) -> int:
    """Runs one command; returns the exit status."""
    consoles = [Console(quiet=True)]
    with interruptible(lambda: _how_to_go_on(consoles[-1])):
        try:
            command = _command(name)
            import_files(words_of_flag(argv, "--import"))
            parser = Parser(prog, command.DESCRIPTION)
            command.add_options(parser)
            add_import_option(parser)
            add_output_options(parser)
            given = parser.parse(argv)
            if name != "search":  # which records them
                vars(given).pop("imports", None)
            consoles.append(Console(as_json=vars(given).pop("json", False), quiet=vars(given).pop("quiet", False)))
            command.run(given, consoles[-1])
        except NasError as fault:
            consoles[-1].error(str(fault))
            return 2
        except KeyboardInterrupt:
            consoles[-1].error(_how_to_go_on(consoles[-1]))
            return INTERRUPTED
        except OSError as fault:
            if fault.errno not in _MENDABLE:
                raise
            consoles[-1].error(f"{fault.strerror}{f': {fault.filename}' if fault.filename else ''}.")
            return 2
        except (MemoryError, RuntimeError) as fault:
            if not _is_out_of_memory(fault):
                raise
            consoles[-1].error(
                f"Out of memory ({str(fault)[-100:].strip() or 'no memory left'}). Use less memory at once: a smaller "
                "batch, --train-resolution or --resolution."
            )
            return 2
        finally:
            consoles[-1].progress.close()
    return 0


def _is_out_of_memory(fault: Exception) -> bool:
    """Returns whether Python, NumPy or torch (not imported here) reports that memory is exhausted."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(fault, MemoryError) or any(word in str(fault).lower() for word in words)


def _set_libraries() -> None:
    """Lets waiting OpenMP threads sleep, unless the user has configured it, and has pictures drawn without a window."""
    os.environ.update(_BACKEND)
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ.update(_SPINS)


def _written(work: Callable[[], int | None]) -> int:
    """Runs the work and flushes its output; a closed pipe (`nas zoo | head`) is not an error."""
    open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal whose encoding lacks "µ" shows "?"
    try:
        try:
            return work() or 0
        finally:
            sys.stdout.flush()
    except OSError as fault:
        if not isinstance(fault, BrokenPipeError) and fault.errno not in _MENDABLE:
            raise
        # Python flushes standard output again at exit, which would raise the error again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(fault, BrokenPipeError):
            return 0
        Console().error(f"Standard output: {fault.strerror}.")
        return 2


def _ended(status: int, argv: Sequence[str] | None) -> int:
    """Returns the exit status; after an interrupt, further ones no longer disturb the exit of a command's process.

    Args:
        argv: None if this process runs the one command only.
    """
    if status == INTERRUPTED and argv is None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    return status


def _command(name: str) -> Command:
    if name not in COMMANDS:
        kind = "option" if name.startswith("-") else "command"
        raise OptionError(unknown(kind, name, ["--help", "--version"] if kind == "option" else COMMANDS))
    return import_module(COMMANDS[name][0])  # type: ignore[return-value]  # a module is a Command by its names


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name.ljust(width)}  {about}" for name, (_, about) in COMMANDS.items()]
    return "\n".join(
        [
            "Neural architecture search for hybrids of convolution and attention, under a budget.",
            "",
            "usage: nas COMMAND [options]      nas COMMAND --help shows more",
            "",
            *lines,
            "",
            "To begin:  nas-search --space coatnet-small --budget 5MFLOPs --data path/to/images",
        ]
    )


def _how_to_go_on(console: Console) -> str:
    if console.again is not None:
        return f"Interrupted. To go on: {console.again}"
    if console.run is None:
        return "Interrupted."
    if not (console.run / "events.jsonl").is_file():
        return "Interrupted before anything was recorded. Start it again with the same command."
    cluster = "" if console.cluster is None else f" --ray {shlex.quote(console.cluster)}"
    return f"Interrupted. To go on: nas-search --resume {shlex.quote(console.run_name)}{cluster}"


if __name__ == "__main__":
    sys.exit(main())
