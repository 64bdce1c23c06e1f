"""A scorer packed and made again gives the same scores, on arrays that it shares and never writes to."""

from __future__ import annotations

import hashlib
import pickle
import random
import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from nas.data.sharing import pack_data, to_array, to_tensor, unpack_data
from nas.jobs.setup import ScoringSetup, make_scorer
from nas.methods.calibrated.calibration import Calibration
from nas.methods.calibrated.features import FeatureGroups, Proxies
from nas.methods.calibrated.scorer import CalibratedScoring
from nas.methods.counted import COUNTS, CountedScoring
from nas.methods.supernet.packing import unpack_supernet
from nas.methods.supernet.scorer import SupernetScoring, unpack_scorer
from nas.methods.zero_cost.proxy_cache import ProxyValues
from nas.methods.zero_cost.scorer import ZeroCostScoring
from nas.networks.loading import space_from_dict
from nas.networks.supernet import Supernet
from nas.progress import Silent
from nas.training import SupernetTraining
from nas.training.threads import threads_set

from ..layered_space import NAMES, layered_space
from .training_cases import Members, member, recipe, same_tensors, tiny_data, tiny_space

SPACE, DATA = tiny_space(), tiny_data()
CANDIDATES = [member(SPACE, layout, seed) for layout in SPACE.layouts for seed in range(2)]


@pytest.fixture(scope="module")
def source() -> SupernetScoring:
    supernet = Supernet(SPACE, seed=0)
    training = SupernetTraining(supernet, Members(SPACE), DATA, recipe(epochs=2), strategy="single-path")
    training.run(Silent(), lambda _: None, watch_every=2)
    return SupernetScoring(
        supernet=supernet,
        data=DATA,
        recipe=recipe(),
        metric="balanced-accuracy",
        recalibration_images=24,
        validation_images=20,
    )


@pytest.fixture
def setup(source: SupernetScoring) -> ScoringSetup:
    """As another process gets it: other arrays, which cannot be written to."""
    packed = source.pack()
    arrays = {name: array.copy() for name, array in packed.arrays.items()}
    for array in arrays.values():
        array.flags.writeable = False
    return ScoringSetup(make=packed.make, facts=pickle.loads(pickle.dumps(packed.facts)), arrays=arrays)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with threads_set(1):
        yield


def checksums(setup: ScoringSetup) -> dict[str, str]:
    return {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in setup.arrays.items()}


def test_the_scorer_made_again_gives_the_same_scores_bit_for_bit(source: SupernetScoring, setup: ScoringSetup) -> None:
    here, there = source.make(), make_scorer(setup)
    assert [there.score(a) for a in CANDIDATES] == [here.score(a) for a in CANDIDATES]


def test_networks_from_shared_weights_are_the_same_bit_for_bit(source: SupernetScoring, setup: ScoringSetup) -> None:
    there = unpack_supernet(setup.facts, setup.arrays, copied=False)
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for architecture in CANDIDATES:
        ours, theirs = source.supernet.extract(architecture).eval(), there.extract(architecture).eval()
        assert same_tensors(ours.state_dict(), theirs.state_dict())
        strides = [[value.stride() for value in each.state_dict().values()] for each in (ours, theirs)]
        assert strides[0] == strides[1]
        assert torch.equal(ours(images), theirs(images))


def test_scoring_leaves_the_shared_arrays_as_they_were(setup: ScoringSetup) -> None:
    before, scorer = checksums(setup), make_scorer(setup)
    for architecture in CANDIDATES:
        scorer.score(architecture)
    assert checksums(setup) == before


def test_new_batch_norm_statistics_are_not_written_to_the_shared_arrays(setup: ScoringSetup) -> None:
    """Torch would write to a read-only array without complaint; without copies of the buffers this fails."""
    before, supernet = checksums(setup), unpack_supernet(setup.facts, setup.arrays, copied=False)
    own = {name: value.clone() for name, value in supernet.named_buffers()}
    supernet.train()
    images = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for architecture in CANDIDATES:
            supernet(images, architecture)
    changed = [name for name, value in supernet.named_buffers() if not torch.equal(value, own[name])]
    assert any(name.endswith("running_mean") for name in changed)
    assert checksums(setup) == before


def test_torch_does_write_to_read_only_arrays() -> None:
    """What the copies are for: if torch ever refuses, they can go."""
    array = np.zeros(3, dtype=np.float32)
    array.flags.writeable = False
    to_tensor(array).add_(1)
    assert array.tolist() == [1, 1, 1]


def test_shared_weights_take_no_memory_of_their_own_and_no_gradients(setup: ScoringSetup) -> None:
    supernet = unpack_supernet(setup.facts, setup.arrays, copied=False)
    for name, parameter in supernet.named_parameters():
        assert not parameter.requires_grad
        assert parameter.data_ptr() == setup.arrays[f"weights/{name}"].ctypes.data
    supernet(torch.randn(2, 1, 8, 8), CANDIDATES[0])
    assert supernet.publish_gradients() == []


def test_the_setup_holds_what_is_scored_on_and_nothing_of_the_test_split(setup: ScoringSetup) -> None:
    images = {name: array for name, array in setup.arrays.items() if name.endswith("/images")}
    assert {name: len(array) for name, array in images.items()} == {"train/images": 24, "search_validation/images": 20}
    assert len(unpack_scorer(setup).data.test) == 0


def test_the_space_and_its_choices_survive(source: SupernetScoring, setup: ScoringSetup) -> None:
    supernet = source.supernet
    there = unpack_supernet(setup.facts, setup.arrays, copied=False)
    assert there.choices == supernet.choices
    assert space_from_dict(setup.facts["space"]).digest == supernet.space.digest
    assert list(there.state_dict()) == list(supernet.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_a_space_with_choices_per_layer_survives_too(source: SupernetScoring, name: str) -> None:
    space = layered_space(name)
    supernet = Supernet(space, seed=0).eval()
    packed = sent(replace(source, supernet=supernet).pack())
    there = unpack_supernet(packed.facts, packed.arrays, copied=False)
    assert there.choices == supernet.choices
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for seed in range(3):
        drawn = space.sample(random.Random(seed))
        with torch.no_grad():
            assert torch.equal(there(images, drawn), supernet(images, drawn))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (2, 3, 1, 1), (4, 1, 3, 3), (4, 5, 3, 3)])
def test_tensors_come_back_with_their_values_and_strides(shape: tuple[int, ...]) -> None:
    tensor = torch.randn(shape)
    if tensor.ndim == 4:
        tensor = torch.empty(shape, memory_format=torch.channels_last).copy_(tensor)
    array = to_array(tensor)
    assert array.flags.c_contiguous
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = to_tensor(array.copy())
    assert torch.equal(back, tensor)
    assert back.stride() == tensor.stride()


def test_data_comes_back_without_its_test_split() -> None:
    facts, arrays = pack_data(DATA)
    back = unpack_data(facts, arrays)
    assert back.info == DATA.info
    assert (back.mean, back.std, back.resolution) == (DATA.mean, DATA.std, DATA.resolution)
    for name in ("train", "search_validation"):
        ours, theirs = getattr(DATA, name), getattr(back, name)
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.labels, theirs.labels)
        assert theirs.images.data_ptr() == arrays[f"{name}/images"].ctypes.data
    assert len(back.test) == 0


def test_threads_are_as_before_once_the_block_ends() -> None:
    with threads_set(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 1


# -- scorers without a supernet ----------------------------------------------------------------------------------


def sent(packed: ScoringSetup) -> ScoringSetup:
    """As another process gets it."""
    arrays = {name: array.copy() for name, array in packed.arrays.items()}
    return ScoringSetup(make=packed.make, facts=pickle.loads(pickle.dumps(packed.facts)), arrays=arrays)


@pytest.mark.parametrize("name", ["nwot", "az-nas"])
def test_zero_cost_scores_are_the_same_elsewhere(name: str) -> None:
    source = ZeroCostScoring(name=name, data=DATA, seed=3, reference=CANDIDATES)
    here = [source.make().score(each) for each in CANDIDATES]
    assert len(set(here)) > 1
    there = make_scorer(sent(source.pack()))
    assert [there.score(each) for each in CANDIDATES[::-1]] == here[::-1]


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_the_same_elsewhere(name: str) -> None:
    source = CountedScoring(name=name)
    there = make_scorer(sent(source.pack()))
    assert [there.score(each) for each in CANDIDATES] == [source.make().score(each) for each in CANDIDATES]


def test_calibrated_scores_are_the_same_elsewhere() -> None:
    reference = FeatureGroups.of(CANDIDATES, Proxies(ProxyValues(DATA, seed=3)))
    # Two of the networks were not measured before.
    reference = FeatureGroups(groups=tuple(group[:-2] for group in reference.groups))
    digests = tuple(each.digest for each in CANDIDATES[:-2])
    trained = tuple((row, 0.3 + 0.05 * row) for row in range(len(digests)))
    calibration = Calibration(reference=reference, digests=digests, trained=trained)
    source = CalibratedScoring(calibration=calibration, data=DATA, seed=3)
    here = [source.make().score(each) for each in CANDIDATES]
    assert len(set(here)) > 1
    there = make_scorer(sent(source.pack()))
    assert [there.score(each) for each in CANDIDATES[::-1]] == here[::-1]
