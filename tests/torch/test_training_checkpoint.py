"""Checkpoints: everything comes back, another network is refused, a broken file is passed over."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from nas.errors import RunError
from nas.training import checkpoint
from nas.training.checkpoint import (
    check_damaged,
    load_checkpoint,
    newest,
    newest_readable,
    prune,
    read_facts,
    save_checkpoint,
    size_on_disk,
)
from nas.training.recipe import make_optimizer

from .training_cases import recipe, same_tensors


def network(width: int = 4) -> nn.Sequential:
    torch_state = torch.Generator().manual_seed(width)
    built = nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width * 4, 2))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=torch_state) - 0.5)
    return built.to(memory_format=torch.channels_last)


def trained(steps: int = 3) -> tuple[nn.Sequential, torch.optim.AdamW]:
    built = network()
    optimizer = make_optimizer(built, recipe())
    for _ in range(steps):
        advance(built, optimizer)
    return built, optimizer


def advance(built: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    images = torch.linspace(-1, 1, 3 * 16).view(3, 1, 4, 4)
    built.zero_grad()
    built(images).square().mean().backward()
    optimizer.step()


def test_weights_buffers_moments_and_facts_come_back(tmp_path: Path) -> None:
    built, optimizer = trained()
    facts = {"step": 3, "facts": {"updates": {"stage 1 C": 4}}, "seconds": 0.1}
    save_checkpoint(tmp_path / "a.safetensors", built, optimizer, facts)
    other = network()
    restored = make_optimizer(other, recipe())
    assert load_checkpoint(tmp_path / "a.safetensors", other, restored) == facts
    assert read_facts(tmp_path / "a.safetensors") == facts
    assert same_tensors(other.state_dict(), built.state_dict())
    for mine, theirs in zip(other.parameters(), built.parameters(), strict=True):
        for name in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.equal(restored.state[mine][name], optimizer.state[theirs][name])
        assert restored.state[mine]["exp_avg"].stride() == optimizer.state[theirs]["exp_avg"].stride()


def test_training_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    built, optimizer = trained()
    save_checkpoint(tmp_path / "a.safetensors", built, optimizer, {})
    other = network()
    restored = make_optimizer(other, recipe())
    load_checkpoint(tmp_path / "a.safetensors", other, restored)
    for each in ((built, optimizer), (other, restored)):
        advance(*each)
        advance(*each)
    assert same_tensors(other.state_dict(), built.state_dict())


def test_parameters_that_never_took_part_have_no_moments(tmp_path: Path) -> None:
    built = network()
    optimizer = make_optimizer(built, recipe())
    first = next(built.parameters())
    first.grad = torch.ones_like(first)
    optimizer.step()
    save_checkpoint(tmp_path / "a.safetensors", built, optimizer, {})
    other = network()
    restored = make_optimizer(other, recipe())
    load_checkpoint(tmp_path / "a.safetensors", other, restored)
    assert list(restored.state) == [next(other.parameters())]


@pytest.mark.parametrize("other", [network(5), network()[:2], nn.Sequential(*network(), nn.Linear(2, 2))])
def test_another_network_is_refused_and_left_as_it_was(tmp_path: Path, other: nn.Module) -> None:
    save_checkpoint(tmp_path / "a.safetensors", network(), None, {})
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(RunError, match=r"a\.safetensors belongs to another network: .* differs\."):
        load_checkpoint(tmp_path / "a.safetensors", other)
    assert same_tensors(other.state_dict(), before)


@pytest.mark.parametrize("content", [b"", b"no safetensors", None])
def test_an_unreadable_newest_checkpoint_falls_back_to_the_one_before(tmp_path: Path, content: bytes | None) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path / f"step-{step:08d}.safetensors", network(), None, {"step": step})
    last = tmp_path / "step-00000002.safetensors"
    assert newest(tmp_path) == last
    last.write_bytes(last.read_bytes()[:-100] if content is None else content)
    assert newest(tmp_path) == tmp_path / "step-00000001.safetensors"
    with pytest.raises(RunError, match="is not a checkpoint"):
        read_facts(last)


def test_a_checkpoint_that_cannot_be_read_for_now_is_not_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path / f"step-{step:08d}.safetensors", network(), None, {"step": step})
    last = tmp_path / "step-00000002.safetensors"
    sound = checkpoint.check_seal

    def failing(path: Path) -> None:
        if path.name == last.name:
            raise OSError(errno.EIO, "Input/output error")
        sound(path)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "check_seal", failing)
        path, unreadable = newest_readable(tmp_path)
        assert (path, unreadable) == (tmp_path / "step-00000001.safetensors", [last])
        with pytest.raises(RunError, match=r"Cannot read .*step-00000002\.safetensors: input/output error\. Try again"):
            check_damaged(unreadable)
    last.write_bytes(b"damaged")
    check_damaged([last])


def test_a_checkpoint_may_be_a_link(tmp_path: Path) -> None:
    kept, folder = tmp_path / "kept.safetensors", tmp_path / "run"
    save_checkpoint(kept, network(), None, {"step": 1})
    folder.mkdir()
    (folder / "step-00000001.safetensors").symlink_to(kept)
    assert newest(folder) == folder / "step-00000001.safetensors"


def test_a_folder_without_checkpoints_has_no_newest(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    assert newest(tmp_path / "absent") is None


def test_pruning_keeps_the_last_two_and_clears_what_a_killed_write_left(tmp_path: Path) -> None:
    for step in (9, 10, 11, 100):
        (tmp_path / f"step-{step:08d}.safetensors").write_bytes(b"x")
    (tmp_path / ".step-00000012.123.tmp.safetensors").write_bytes(b"torn")
    (tmp_path / "notes.txt").write_text("mine")
    prune(sorted(tmp_path.glob("step-*"))[-1])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "notes.txt",
        "step-00000011.safetensors",
        "step-00000100.safetensors",
    ]


@pytest.mark.parametrize("keep", [1, 2])
def test_pruning_keeps_what_can_be_read_rather_than_later_ones(tmp_path: Path, keep: int) -> None:
    """A training that went on before damaged checkpoints would lose its own to them."""
    for step in (8, 16, 24, 32):
        (tmp_path / f"step-{step:08d}.safetensors").write_bytes(b"x")
    prune(tmp_path / "step-00000016.safetensors", keep)
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert names == ["step-00000008.safetensors", "step-00000016.safetensors"][-keep:]


def test_the_file_is_what_others_read_as_safetensors(tmp_path: Path) -> None:
    built, optimizer = trained()
    save_checkpoint(tmp_path / "a.safetensors", built, optimizer, {"step": 3})
    found = load_file(tmp_path / "a.safetensors")
    model = {key.removeprefix("model/"): tensor for key, tensor in found.items() if key.startswith("model/")}
    assert same_tensors(model, built.state_dict())
    assert found["model/1.num_batches_tracked"].dtype == torch.int64
    assert {key.split("/")[0] for key in found} == {"model", "exp_avg", "exp_avg_sq"}


def test_a_checkpoint_takes_no_more_than_was_said(tmp_path: Path) -> None:
    built, optimizer = trained()
    for name, given in (("a", None), ("b", optimizer)):
        save_checkpoint(tmp_path / name, built, given, {"step": 3})
        assert (tmp_path / name).stat().st_size <= size_on_disk(built, moments=0 if given is None else 2)


def test_a_write_that_fails_leaves_the_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, network(), None, {"step": 1})
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "write_sealed", full)
    with pytest.raises(RunError, match="no space left on device. Free some space, then go on with --resume"):
        save_checkpoint(path, network(), None, {"step": 2})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("where", [0, 20, 200, 500, -500, -1])
def test_a_changed_byte_anywhere_is_noticed(tmp_path: Path, where: int) -> None:
    built, optimizer = trained()
    for step in (1, 2):
        save_checkpoint(tmp_path / f"step-{step:08d}.safetensors", built, optimizer, {"step": step})
    last = tmp_path / "step-00000002.safetensors"
    damaged = bytearray(last.read_bytes())
    damaged[where] ^= 1
    last.write_bytes(damaged)
    with pytest.raises(RunError, match="is not a checkpoint"):
        load_checkpoint(last, network())
    assert newest(tmp_path) == tmp_path / "step-00000001.safetensors"


def test_a_checkpoint_of_an_earlier_version_has_no_digest_and_is_read(tmp_path: Path) -> None:
    built = network()
    state = {f"model/{name}": value.contiguous() for name, value in built.state_dict().items()}
    save_file(state, tmp_path / "a.safetensors", metadata={"facts": '{"step": 3}', "steps": "{}"})
    other = network(4)
    assert load_checkpoint(tmp_path / "a.safetensors", other) == {"step": 3}
    save_file(state, tmp_path / "a.safetensors", metadata={"facts": '{"step": 3}', "steps": "{}", "sha255": ""})
    with pytest.raises(RunError, match="is not a checkpoint"):
        read_facts(tmp_path / "a.safetensors")
