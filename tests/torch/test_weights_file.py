"""Files of given weights: which may be pickles, whatever they are called."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nas.errors import RunError
from nas.networks.timm.checkpoints import convert_weights
from nas.pipeline.given_weights import GivenWeights
from nas.training.weights_file import may_be_pickle


def test_a_pickle_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    renamed = tmp_path / "renamed.safetensors"
    torch.save({"weight": torch.zeros(2)}, renamed)
    assert may_be_pickle(renamed)
    with pytest.raises(RunError, match="may be a pickle, .* convert it once by `nas weights convert"):
        GivenWeights(renamed, network="resnet18")
    save_file({"weight": torch.zeros(2)}, tmp_path / "own.safetensors")
    assert not may_be_pickle(tmp_path / "own.safetensors")


def test_a_converted_file_is_not_converted_again(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "w.safetensors", {"network": "resnet18"})
    with pytest.raises(RunError, match="is converted already: give it by --weights"):
        convert_weights(tmp_path / "w.safetensors", "resnet18", tmp_path / "out.safetensors")


def test_tensors_of_another_network_are_named_as_the_file_has_them(tmp_path: Path) -> None:
    save_file({"conv1.weight": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(RunError) as refused:
        convert_weights(tmp_path / "w.safetensors", "resnet18", tmp_path / "out.safetensors")
    assert "given:" not in str(refused.value)
