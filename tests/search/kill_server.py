"""Makes runs in forked children, and kills them where they write: run as a program by the tests of resuming.

Reads one JSON object a line: {"do": "search" | "resume", "out": folder, "options": {…}, "often": bool, "die": {…} or
null}. Answers with the child's exit status: negative for a signal, 2 for what a user can mend, 130 for an interrupt.
`die` has the point to die at ("event:trial", "replace:supernet", "step", …), the how many-eth time it is reached, and
how: killed "before" it, "half" way through writing or "after" it; or by "SIGINT" or "SIGTERM", before it; or the disk
is "full" from there on.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import torch._dynamo  # noqa: F401  # what optimizers load when the first is made

import nas
from nas.data import open_data
from nas.export import winner
from nas.export.formats import code
from nas.options import SearchOptions
from nas.pipeline import search as job
from nas.training import checkpoint
from nas.training import loop as training


class Death:
    """Kills this process at a point of its writing."""

    def __init__(self, at: str, nth: int, how: str) -> None:
        self.at, self.left, self.how = at, nth, how

    def due(self, point: str) -> str | None:
        """How to be killed if this is the point, None otherwise."""
        if point != self.at:
            return None
        self.left -= 1
        if self.left > 0 or (self.left < 0 and self.how != "full"):
            return None
        if self.how.startswith("SIG"):
            os.kill(os.getpid(), signal.Signals[self.how])
            return None
        if self.how == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.how

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        self._events()
        self._files()
        self._checkpoints()
        self._steps()

    def _events(self) -> None:
        write = os.write

        def dying(handle: int, data: Any) -> int:
            line = bytes(data)
            if b'"event":"' not in line[:200]:
                return write(handle, data)
            how = self.due("event:" + json.loads(line)["event"])
            if how is not None:
                write(handle, line[: {"before": 0, "half": len(line) // 2, "after": len(line)}[how]])
                self.die()
            return write(handle, data)

        os.write = dying  # type: ignore[assignment]

    def _files(self) -> None:
        replace, rename, unlink, write = os.replace, Path.rename, Path.unlink, Path.write_bytes

        def dying_replace(source: Any, target: Any) -> None:
            how = self.due(f"replace:{place(Path(target))}")
            if how != "before":
                replace(source, target)
            if how is not None:
                self.die()

        def dying_rename(path: Path, target: Any) -> Path:
            how = self.due(f"rename:{Path(target).parent.name}")
            found = path if how == "before" else rename(path, target)
            if how is not None:
                self.die()
            return found

        def dying_unlink(path: Path, missing_ok: bool = False) -> None:
            if self.due(f"unlink:{place(path)}") is not None:
                self.die()
            unlink(path, missing_ok=missing_ok)

        def dying_write(path: Path, data: bytes) -> int:
            how = self.due(f"write:{path.name.split('.')[1]}{path.suffix}")
            count = write(path, data[: len(data) // 2] if how == "half" else data)
            if how is not None:
                self.die()
            return count

        os.replace = dying_replace  # type: ignore[assignment]
        Path.rename, Path.unlink, Path.write_bytes = dying_rename, dying_unlink, dying_write  # type: ignore[assignment,method-assign]

    def _checkpoints(self) -> None:
        write = checkpoint.write_sealed

        def dying(path: Path, tensors: Any, metadata: dict[str, str]) -> None:
            how = self.due(f"write:{place(path)}")
            write(path, tensors, metadata)
            if how is not None:
                os.truncate(path, path.stat().st_size // 2)
                self.die()

        checkpoint.write_sealed = dying

    def _steps(self) -> None:
        clip = training.nn.utils.clip_grad_norm_

        def dying(*given: Any, **named: Any) -> Any:
            if self.due("step") is not None:
                self.die()
            return clip(*given, **named)

        training.nn.utils.clip_grad_norm_ = dying  # type: ignore[assignment]


def place(path: Path) -> str:
    """What a file is: "supernet", "best" and "finalist" are checkpoints, others go by their name."""
    if path.name.lstrip(".").startswith("best"):
        return "best"
    if path.name.lstrip(".").startswith("step-"):
        return "supernet" if path.parent.name == "supernet" else "finalist"
    return path.name


def child(asked: dict[str, Any]) -> None:
    """One run, or what is left of it; what is slow and beside the point is left out."""
    if asked["often"]:
        training._CAUTION, training._FIRST_S = 0.0, -1.0
    code.check_code = lambda *_: 0.0
    counts = {"macs": 1, "macs_fvcore": 1, "macs_difference": 0}
    winner.compare_counts = lambda architecture: {"resolution": architecture.input.resolution, **counts}
    job.rebuild_report = lambda run: None
    if asked["die"] is not None:
        Death(**asked["die"]).install()
    if asked["do"] == "resume":
        nas.resume(asked["out"])
        return
    options = SearchOptions.of(**asked["options"], out=asked["out"])
    budgets = [nas.Budget.parse(text) for text in options.budgets]
    nas.search(nas.load_space(options.space), budgets=budgets, data=options.data, options=options)


def main() -> None:
    # A suite that was itself started in the background hands on that interrupts are ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    open_data("digits").load(resolution=8, seed=0)
    for line in sys.stdin:
        number = os.fork()
        if number == 0:
            status = 1
            try:
                child(json.loads(line))
                status = 0
            except KeyboardInterrupt:
                status = 130
            except nas.NasError as fault:
                sys.stderr.write(f"{fault}\n")
                status = 2
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
