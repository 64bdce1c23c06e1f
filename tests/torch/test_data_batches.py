import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import pad

from nas.data import Batches, DataInfo, Split, choose_augment
from nas.errors import OptionError


def split_of(count: int, *, size: int = 8, channels: int = 3) -> Split:
    generator = torch.Generator().manual_seed(7)
    pixels = torch.randint(0, 256, (count, size, size, channels), generator=generator, dtype=torch.uint8)
    return Split(images=pixels.permute(0, 3, 1, 2), labels=torch.arange(count))


def batches_of(split: Split, *, seed: int = 0, **options) -> Batches:
    """Batches whose pixels are those of the split, as floats."""
    channels = split.images.shape[1]
    options = {"batch_size": 4, "generator": torch.Generator().manual_seed(seed)} | options
    return Batches(split, mean=[0.0] * channels, std=[1 / 255] * channels, **options)


def info(**changes) -> DataInfo:
    fields = {
        "name": "x", "kind": "npz", "num_classes": 2, "class_names": ("a", "b"), "channels": 3, "height": 8,
        "width": 8, "train_count": 4, "validation_count": 0, "test_count": 0, "glyphs": False,
        "class_counts": (2, 2),
    }  # fmt: skip
    return DataInfo(**(fields | changes))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augment", ["none", "crop", "crop-flip"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_channels_last_floats(channels, augment, shuffle):
    for images, labels in batches_of(split_of(5, channels=channels), augment=augment, shuffle=shuffle):
        assert images.dtype == torch.float32
        assert images.shape[1:] == (channels, 8, 8)
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.dtype == torch.int64
        assert labels.shape == images.shape[:1]


def test_pixels_are_normalised_per_channel():
    split = split_of(6)
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 0.4)
    images, _ = next(iter(Batches(split, batch_size=6, mean=mean, std=std)))
    expected = (split.images / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(images, expected, rtol=1e-6, atol=1e-5)


def test_another_dtype_can_be_asked_for():
    images, _ = next(iter(batches_of(split_of(4), dtype=torch.bfloat16)))
    assert images.dtype == torch.bfloat16
    assert images.is_contiguous(memory_format=torch.channels_last)


@given(
    count=st.integers(min_value=1, max_value=20),
    batch_size=st.integers(min_value=1, max_value=24),
    drop_last=st.booleans(),
    shuffle=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_an_epoch_has_every_image_at_most_once_in_as_many_batches_as_it_says(count, batch_size, drop_last, shuffle):
    batches = batches_of(split_of(count), batch_size=batch_size, drop_last=drop_last, shuffle=shuffle)
    seen = [labels.tolist() for _, labels in batches]
    assert len(seen) == len(batches) > 0
    flat = [label for labels in seen for label in labels]
    assert len(set(flat)) == len(flat)
    if drop_last:
        assert {len(labels) for labels in seen} == {min(batch_size, count)}
    else:
        assert sorted(flat) == list(range(count))
    if not shuffle:
        assert flat == list(range(len(flat)))


def test_images_keep_their_labels_when_shuffled():
    split = split_of(10)
    for images, labels in batches_of(split, shuffle=True):
        torch.testing.assert_close(images, split.images[labels].float())


@pytest.mark.parametrize("augment", ["none", "crop", "crop-flip"])
def test_the_same_seed_gives_the_same_bits(augment):
    first, second = (list(batches_of(split_of(10), augment=augment, shuffle=True)) for _ in range(2))
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(first, second, strict=True))


def test_epochs_and_seeds_differ():
    batches = batches_of(split_of(64), shuffle=True)
    orders = [torch.cat([labels for _, labels in batches]) for _ in range(2)]
    orders.append(torch.cat([labels for _, labels in batches_of(split_of(64), seed=1, shuffle=True)]))
    assert len({tuple(order.tolist()) for order in orders}) == 3


def test_an_epoch_advances_the_generator_alike_however_far_it_is_read():
    read, unread = batches_of(split_of(10), shuffle=True), batches_of(split_of(10), shuffle=True)
    list(read)
    next(iter(unread))
    assert torch.equal(torch.cat([labels for _, labels in read]), torch.cat([labels for _, labels in unread]))


def test_an_epoch_continues_from_any_batch():
    whole = list(batches_of(split_of(10), augment="crop-flip", shuffle=True))
    rest = list(batches_of(split_of(10), augment="crop-flip", shuffle=True).epoch(first_batch=1))
    assert len(rest) == len(whole) - 1
    assert all(torch.equal(a[0], b[0]) for a, b in zip(whole[1:], rest, strict=True))


def test_the_batch_size_does_not_change_what_happens_to_an_image():
    small = batches_of(split_of(12), batch_size=3, augment="crop-flip", shuffle=True)
    large = batches_of(split_of(12), batch_size=12, augment="crop-flip", shuffle=True)
    assert torch.equal(torch.cat([images for images, _ in small]), next(iter(large))[0])


def test_evaluating_needs_no_generator_and_is_in_order():
    split = split_of(6)
    batches = batches_of(split, generator=None)
    for _ in range(2):
        assert torch.equal(torch.cat([images for images, _ in batches]), split.images.float().round())


@pytest.mark.parametrize(("augment", "mirrors"), [("crop", False), ("crop-flip", True)])
@pytest.mark.parametrize("size", [4, 8, 16])
def test_augmented_images_are_crops_of_the_reflected_image(augment, mirrors, size):
    """Every result is found among all crops of the image padded by reflection, and all moves occur."""
    reach = max(size // 8, 1)
    one = split_of(1, size=size)
    split = Split(images=one.images.expand(400, -1, -1, -1), labels=torch.arange(400))
    images, _ = next(iter(batches_of(split, batch_size=400, augment=augment)))
    image = one.images.float()
    padded = {
        (down, right, mirrored): pad(image.flip(3) if mirrored else image, (reach,) * 4, mode="reflect")[
            0, :, down : down + size, right : right + size
        ]
        for down in range(2 * reach + 1)
        for right in range(2 * reach + 1)
        for mirrored in ((False, True) if mirrors else (False,))
    }
    candidates = torch.stack(list(padded.values()))
    distance = (images.round()[:, None] - candidates[None]).abs().amax(dim=(2, 3, 4))
    assert (distance.amin(dim=1) == 0).all(), "an augmented image is none of the crops"
    assert (distance.amin(dim=0) == 0).all(), "a crop never occurs"


def test_images_stored_channels_first_give_the_same_batches():
    split = split_of(6)
    other = Split(images=split.images.contiguous(), labels=split.labels)
    for a, b in zip(batches_of(split, augment="crop"), batches_of(other, augment="crop"), strict=True):
        assert torch.equal(a[0], b[0])


def test_augmenting_leaves_the_split_as_it_was():
    split = split_of(6)
    before = split.images.clone()
    list(batches_of(split, augment="crop-flip", shuffle=True))
    assert torch.equal(split.images, before)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "crop-flip"),
        ({"channels": 1}, "crop"),
        ({"glyphs": True}, "crop"),
        ({"glyphs": True, "channels": 1}, "crop"),
    ],
)
def test_auto_mirrors_only_colour_images_that_are_no_glyphs(changes, expected):
    assert choose_augment("auto", info(**changes)) == expected


def test_a_policy_that_is_asked_for_is_taken():
    assert [choose_augment(policy, info(glyphs=True)) for policy in ("none", "crop", "crop-flip")] == [
        "none", "crop", "crop-flip",
    ]  # fmt: skip


def test_unknown_policies_and_batch_sizes_are_refused():
    with pytest.raises(OptionError, match="did you mean 'crop-flip'"):
        choose_augment("cropflip", info())
    with pytest.raises(OptionError, match="Unknown augmentation 'auto'"):
        batches_of(split_of(4), augment="auto")
    with pytest.raises(OptionError, match="at least 1 image, not 0"):
        batches_of(split_of(4), batch_size=0)


def test_a_prefix_of_a_split_shares_its_memory():
    split = split_of(6)
    assert len(split.first(4)) == 4
    assert len(split.first(9)) == 6
    assert split.first(4).images.data_ptr() == split.images.data_ptr()
    assert torch.equal(split.to("cpu").images, split.images)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
@pytest.mark.parametrize("home", ["cpu", "cuda"])
@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_batches_on_an_accelerator_are_those_on_the_cpu(home, augment):
    split = split_of(40)
    here = batches_of(split, augment=augment, shuffle=True)
    there = batches_of(split.to(home), augment=augment, shuffle=True, device="cuda")
    for (images, labels), (images_there, labels_there) in zip(here, there, strict=True):
        assert images_there.is_cuda
        assert images_there.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(images_there.cpu(), images)
        assert torch.equal(labels_there.cpu(), labels)
