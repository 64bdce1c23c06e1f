"""Settings: what is read, what is refused and how, and that a setting writes itself exactly."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import OptionError
from nas.machine import available_cores
from nas.setting import DTYPE_BYTES, RUNTIMES, Setting

READ = [
    ("cpu", Setting()),
    ("torch", Setting()),
    ("cpu:threads=2", Setting(threads=2)),
    (" torch : threads=2 ", Setting(threads=2)),
    ("cuda", Setting(device="cuda")),
    ("cuda:0", Setting(device="cuda")),
    ("cuda:1", Setting(device="cuda:1")),
    ("cuda:01:dtype=bfloat16", Setting(device="cuda:1", dtype="bfloat16")),
    ("mps:batch=8", Setting(device="mps", batch=8)),
    ("onnxruntime", Setting(runtime="onnxruntime")),
    ("onnxruntime:device=cpu", Setting(runtime="onnxruntime")),
    ("onnxruntime:threads=2", Setting(runtime="onnxruntime", threads=2)),
    ("cuda:dtype=float16,batch=32", Setting(device="cuda", batch=32, dtype="float16")),
    ("torch.compile", Setting(runtime="torch.compile")),
    ("torch.compile:batch=4,device=cuda:1", Setting(runtime="torch.compile", device="cuda:1", batch=4)),
]


@pytest.mark.parametrize(("text", "setting"), READ)
def test_text_is_read(text: str, setting: Setting) -> None:
    assert Setting.parse(text) == setting


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("torch:batch=1,dtype=float32", "cpu"),
        ("torch:device=cuda:0", "cuda"),
        ("cuda:dtype=float16,batch=32", "cuda:batch=32,dtype=float16"),
        ("openvino:dtype=bfloat16,threads=4", "openvino:threads=4,dtype=bfloat16"),
        ("torch.compile:batch=4,device=cuda:1", "torch.compile:device=cuda:1,batch=4"),
    ],
)
def test_canonical_text_leaves_out_what_is_the_default(text: str, canonical: str) -> None:
    assert str(Setting.parse(text)) == canonical


def test_every_setting_round_trips_through_its_text_and_no_two_share_one() -> None:
    devices, numbers = ("cpu", "cuda", "cuda:3", "mps"), (None, 1, 7)
    written: dict[str, Setting] = {}
    for device, runtime, threads, batch, dtype in itertools.product(devices, RUNTIMES, numbers, (1, 64), DTYPE_BYTES):
        if threads is not None and device != "cpu":
            continue
        setting = Setting(device=device, runtime=runtime, threads=threads, batch=batch, dtype=dtype)
        assert Setting.parse(str(setting)) == setting
        assert str(setting) not in written
        written[str(setting)] = setting


REFUSED = [
    ("", "Unknown device ''"),
    ("gpu", "use cpu, cuda, cuda:1 or mps, or a runtime: torch, torch.compile, onnxruntime, openvino"),
    ("CPU", "did you mean cpu?"),
    ("onnx_runtime", "did you mean onnxruntime?"),
    ("cuda:9999", "Unknown device 'cuda:9999'"),
    ("cpu@cuda", "one device or runtime"),
    ("cpu:threads=0", "whole number from 1 to 1024, but got 0: use one such as threads=2"),
    ("cpu:threads=two", "whole number from 1 to 1024, but got 'two'"),
    ("cpu:threads=1e3", "got '1e3'"),
    ("cpu:threads=99999", "got 99999"),
    ("cpu:batch=-1", "batch of a setting must be a whole number from 1 to 65536, but got -1"),
    ("cpu:batch=", "needs a value: write batch=16"),
    ("cpu:batch", "needs a value: write batch=16"),
    ("cpu:", "Unknown key ''"),
    ("cpu:2", "Unknown key '2'"),
    ("cpu:thread=2", "did you mean threads=…?"),
    ("cpu:colour=red", "use device, threads, batch or dtype"),
    ("cpu:dtype=flaot16", "did you mean 'float16'"),
    ("cpu:batch=2,batch=3", "given twice"),
    ("cpu:device=cuda", "names a device twice: leave out device=cuda"),
    ("onnxruntime:device=gpu", "Unknown device 'gpu'"),
    ("cuda:threads=2", "those of a CPU, but got threads=2 for cuda: leave them out"),
    ("cpu:batch=٣", "got '٣'"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_text_that_is_no_setting_is_refused_in_one_line(text: str, why: str) -> None:
    with pytest.raises(OptionError) as caught:
        Setting.parse(text)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text() | st.builds("{}:{}={}".format, st.sampled_from(["cpu", "torch", "x"]), st.text(), st.text()))
def test_any_text_is_a_setting_or_an_option_error(text: str) -> None:
    try:
        setting = Setting.parse(text)
    except OptionError as fault:
        assert "\n" not in str(fault)
    else:
        assert Setting.parse(str(setting)) == setting


def test_values_are_checked_without_a_text() -> None:
    for wrong in ({"threads": True}, {"batch": 1.0}, {"dtype": "int4"}, {"runtime": "tflite"}, {"device": "cuda:"}):
        with pytest.raises(OptionError):
            Setting(**wrong)  # type: ignore[arg-type]


def test_threads_left_out_are_one_per_core() -> None:
    assert Setting().resolved() == Setting(threads=available_cores())
    assert Setting(threads=3).resolved() == Setting(threads=3)
    assert Setting(device="cuda").resolved() == Setting(device="cuda")
    assert {field.name for field in dataclasses.fields(Setting)} == {"device", "runtime", "threads", "batch", "dtype"}


def test_runtime_from_outside_is_named_like_any_other() -> None:
    RUNTIMES.add("mine", object())
    try:
        assert Setting.parse("mine:threads=2") == Setting(runtime="mine", threads=2)
    finally:
        RUNTIMES.remove("mine")
    with pytest.raises(OptionError, match="Unknown device 'mine'"):
        Setting.parse("mine")
