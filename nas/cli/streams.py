"""Standard streams that a process was started without (`nas zoo >&-`, some schedulers and daemons)."""

from __future__ import annotations

import os
import sys


def open_standard_streams() -> None:
    """Opens the null device in place of standard streams that are closed, where Python has None.

    Their numbers are taken too: otherwise the next file that is opened would be standard output for all that writes
    to number 1, such as libraries and child processes.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (for as long as the process lives)
