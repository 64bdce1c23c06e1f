"""`nas-search` that may kill itself in the middle of a write; started by `run.py`, never by hand.

    python dying.py COUNT_FILE REDONE_S WRITE SHARE -- OPTIONS OF NAS-SEARCH

All that a run keeps goes through two places: lines appended to `events.jsonl`, and files that are written beside their
place, synced and renamed. WRITE is the number of the write to die in (0: in none): after SHARE of its bytes, or, where
SHARE is 1, once the file is renamed. COUNT_FILE gets the number of writes of a process that ends by itself.

REDONE_S takes the place of the 60 seconds that a kill may cost, since these runs last a minute and not a night.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from nas.cli.main import main_search
from nas.run import files, record


class Writes:
    """Counts writes, and dies in one of them."""

    def __init__(self, fatal: int, share: float) -> None:
        self.count, self.fatal, self.share = 0, fatal, share

    def next(self) -> bool:
        """Whether the write that begins is the last one."""
        self.count += 1
        return self.count == self.fatal

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        write, sync = os.write, files._sync
        dying = False

        def append(handle: int, data: Any) -> int:
            line = bytes(data)
            if b'"event":' not in line[:120] or not self.next():
                return write(handle, data)
            write(handle, line[: int(len(line) * self.share)])
            self.die()
            return 0

        def synced(path: Path) -> None:
            nonlocal dying
            if not path.is_dir() and self.next():
                if self.share < 1:
                    os.truncate(path, int(path.stat().st_size * self.share))
                    self.die()
                dying = True  # once the folder is synced, which is after the renaming
            elif dying:
                self.die()
            sync(path)

        record.os.write = append  # type: ignore[assignment]
        files._sync = synced


def main() -> int:
    count_file, redone_s, fatal, share = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    assert sys.argv[5] == "--"
    writes = Writes(fatal, share)
    writes.install()
    # Late, as nas-search itself does it: torch takes its time.
    from nas.training import loop

    loop.REDONE_S, loop._FIRST_S = redone_s, redone_s / 6
    status = main_search(sys.argv[6:])
    count_file.write_text(str(writes.count))
    return status


if __name__ == "__main__":
    sys.exit(main())
