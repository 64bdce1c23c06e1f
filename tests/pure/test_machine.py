"""The name of the CPU, which tells the latency models of different devices apart."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from nas.machine import cpu_name

X86 = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: Intel(R) Xeon(R) CPU\nflags\t\t: fpu\n"
ARM = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (X86, "Intel(R) Xeon(R) CPU"),
        (ARM + "Hardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n", "Raspberry Pi 4 Model B Rev 1.4"),
        (ARM, "aarch64 0x41 0xd08"),
        ("", "aarch64"),
    ],
    ids=["x86", "a board", "numbers", "nothing"],
)
def test_the_cpu_is_named_by_its_model_its_board_or_its_numbers(
    monkeypatch: pytest.MonkeyPatch, text: str, name: str
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    assert cpu_name() == name
