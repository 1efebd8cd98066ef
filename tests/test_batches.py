import gc
import subprocess
import sys
import weakref
from typing import Any

import keras
import numpy as np
import pytest
from conftest import ROOT

from thaw.config.params import Augment
from thaw.network.shared_memory import ALIGNMENT, aligned, aligned_empty, shared
from thaw.training.accumulation import accumulation_steps
from thaw.training.augmentation import augmentation
from thaw.training.batches import ArrayBatches, Batches

VALUES = np.random.default_rng(0).normal(size=(50, 8)).astype("float32")
IMAGES = np.random.default_rng(1).integers(0, 256, (200, 5, 5, 3), dtype=np.uint8)


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    def labels_of(some: Batches) -> list[int]:
        return [int(i) for k in range(len(some)) for i in some[k][1]]

    positions = np.arange(50)
    first = Batches(lambda which: which, positions, 16, seed=1)
    assert len(first) == 4
    assert sorted(labels_of(first)) == list(range(50))
    orders = [labels_of(first)]
    for _ in range(2):
        first.start_epoch(len(orders))
        orders.append(labels_of(first))
    assert orders[0] != orders[1] != orders[2]
    first.start_epoch(0)
    assert labels_of(first) == orders[0]
    assert labels_of(Batches(lambda which: which, positions, 16)) == list(range(50))


@pytest.mark.parametrize(
    ("images", "side", "limit", "steps"),
    [
        *((64, 32, 802816, 1), (784, 32, 802816, 1), (785, 32, 802816, 2)),
        *((16, 224, 802816, 1), (32, 224, 802816, 2), (64, 224, 802816, 4), (33, 224, 802816, 3)),
        *((64, 224, 0, 1), (5, 224, 1, 5)),
    ],
)
def test_accumulation_steps_by_hand(images: int, side: int, limit: int, steps: int) -> None:
    assert accumulation_steps(images, side, limit, "float32") == steps


@pytest.mark.parametrize(("count", "left_out"), [(48, 0), (51, 3), (16, 0)])
def test_micro_batches_make_up_the_batches(count: int, left_out: int) -> None:
    """16 images in 3 micro-batches are 6, 5 and 5. Images beyond the whole batches are left out."""
    labels = np.arange(count)
    whole = Batches(lambda which: which, labels, 16, seed=1)
    split = Batches(lambda which: which, labels, 16, seed=1, accumulation_steps=3)
    batches = [whole[i][1] for i in range(len(whole))]
    parts = [split[i][1] for i in range(len(split))]
    assert [len(part) for part in parts[:3]] == [6, 5, 5]
    assert all(len(part) for part in parts)
    assert len(parts) == 3 * split.steps
    for step in range(split.steps):
        together = np.concatenate(parts[3 * step : 3 * step + 3])
        np.testing.assert_array_equal(together, batches[step])
    assert count - sum(map(len, parts)) == left_out


def fed(some: Batches, epoch: int) -> list[Any]:
    some.start_epoch(epoch)
    return list(some.to_dataset().as_numpy_iterator())


def test_batches_of_arrays_are_the_same_in_the_same_order() -> None:
    labels = np.arange(50)
    read, picked = Batches(VALUES.__getitem__, labels, 16, 7), ArrayBatches(VALUES, labels, 16, 7)
    for epoch in (0, 2):
        of_read, of_picked = fed(read, epoch), fed(picked, epoch)
        assert len(of_read) == len(of_picked) == len(read) == 4
        for index, batch in enumerate(of_read):
            keras.tree.map_structure(np.testing.assert_array_equal, batch, of_picked[index])
            keras.tree.map_structure(np.testing.assert_array_equal, batch, read[index])


def test_a_feed_takes_the_order_of_the_epoch_that_begins() -> None:
    labels = np.arange(50)
    for some in (Batches(VALUES.__getitem__, labels, 16, 7), ArrayBatches(VALUES, labels, 16, 7)):
        feed = some.to_dataset()
        for epoch in (3, 0):
            some.start_epoch(epoch)
            order = np.concatenate([of_inputs for _, of_inputs in feed.as_numpy_iterator()])
            np.testing.assert_array_equal(order, some.order)
            assert len(feed) == len(some) == 4


def test_a_dataset_has_the_micro_batches_and_all_inputs_of_batches() -> None:
    """Cut inside a block, a network has two inputs; images are bytes."""
    images = Batches(
        lambda which: (IMAGES[which], VALUES[which]), np.arange(50), 16, 1, accumulation_steps=3
    )
    feed = images.to_dataset()
    assert len(feed) == len(images) == 9
    (first, second), labels = feed.element_spec
    assert (first.dtype, first.shape[1:]) == (np.uint8, (5, 5, 3))
    assert (second.dtype, second.shape[1:]) == (np.float32, (8,))
    assert (labels.dtype, first.shape[0], labels.shape[0]) == (np.int64, None, None)
    for index, batch in enumerate(feed.as_numpy_iterator()):
        keras.tree.map_structure(np.testing.assert_array_equal, batch, images[index])


def asked(**changes: Any) -> Augment:
    nothing = {"flip": False, "shift": 0, "zoom": 0.0, "brightness": 0.0}
    return Augment.model_validate(nothing | changes)


def test_a_feed_is_augmented() -> None:
    change = augmentation(asked(flip=True, shift=2), gray=True)
    some = Batches(IMAGES.__getitem__, np.zeros(len(IMAGES), np.int64), 50, 3, change)
    for index, (inputs, _) in enumerate(fed(some, 1)):
        np.testing.assert_array_equal(inputs, some[index][0])


@pytest.mark.parametrize("kind", [Batches, ArrayBatches])
def test_batches_that_were_fed_are_let_go(kind: type[Batches]) -> None:
    """Or a run's images, or cached activations on disk, stay until the process ends."""
    read = VALUES if kind is ArrayBatches else VALUES.__getitem__
    some = kind(read, np.arange(50), 16)
    assert len(fed(some, 0)) == 4
    alive = weakref.ref(some)
    del some
    gc.collect()
    assert alive() is None


def test_no_epoch_waits_for_autotuning_to_end() -> None:
    """Its thread sleeps on now and then only, so no test of time would do."""
    labels = np.arange(50)
    for some in (Batches(VALUES.__getitem__, labels, 16), ArrayBatches(VALUES, labels, 16)):
        assert some.to_dataset().options().autotune.enabled is False


ON_ANOTHER_DEVICE = """
from thaw.training.batches import ArrayBatches
import numpy as np, tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
with tf.device("CPU:1"):
    batches = ArrayBatches(np.ones((5, 2), np.float32), np.arange(5), 2, 0)
print(batches.inputs.device[-5:], batches.shared_order.device[-5:], len(list(batches.to_dataset())))
"""


def test_batches_stay_in_main_memory_whatever_device_trains() -> None:
    """A second CPU stands for a GPU."""
    command = [sys.executable, "-c", ON_ANOTHER_DEVICE]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "CPU:0 CPU:0 3\n"


def test_inputs_in_memory_are_not_copied() -> None:
    values = aligned_empty((50, 8))
    values[...] = VALUES
    assert values.ctypes.data % ALIGNMENT == 0
    assert aligned(values) is values
    variable = shared(values)
    values[3, 5] = 42.0
    assert float(variable[3, 5]) == 42.0


@pytest.mark.parametrize("which", [slice(1, None), (slice(None), slice(0, 3))])
def test_inputs_that_tensorflow_cannot_share_are_copied(which: slice) -> None:
    values = aligned_empty((50, 9))
    values[:, :8] = VALUES
    other = values[which]
    copy = aligned(other)
    assert not np.shares_memory(copy, other)
    assert copy.ctypes.data % ALIGNMENT == 0
    np.testing.assert_array_equal(copy, other)
    np.testing.assert_array_equal(shared(copy).numpy(), other)


def test_flips_by_hand() -> None:
    change = augmentation(asked(flip=True), gray=True)
    assert change
    before = IMAGES.copy()
    changed = change(IMAGES, np.random.default_rng(0))
    np.testing.assert_array_equal(IMAGES, before)
    assert changed.dtype == np.uint8
    flipped = [np.array_equal(new, old[:, ::-1]) for new, old in zip(changed, IMAGES, strict=True)]
    kept = [np.array_equal(new, old) for new, old in zip(changed, IMAGES, strict=True)]
    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 60 < sum(flipped) < 140


@pytest.mark.parametrize(("gray", "padding"), [(True, "constant"), (False, "edge")])
def test_shifts_by_hand(gray: bool, padding: str) -> None:
    """Every image is one of its nine moves by a pixel at most. What comes in is black in
    Fashion-MNIST and the edge's colour in pictures.
    """
    change = augmentation(asked(shift=1), gray=gray)
    assert change
    seen = set()
    for new, old in zip(change(IMAGES, np.random.default_rng(0)), IMAGES, strict=True):
        framed = np.pad(old, ((1, 1), (1, 1), (0, 0)), padding)
        moves = {
            (y, x)
            for y in range(3)
            for x in range(3)
            if np.array_equal(new, framed[y : y + 5, x : x + 5])
        }
        assert len(moves) == 1
        seen |= moves
    assert len(seen) == 9


def test_nothing_to_augment() -> None:
    assert augmentation(asked(), gray=True) is None


def test_zoom_keeps_the_middle_and_brightness_moves_all_pixels_alike() -> None:
    """A zoom by a third of a 9x9 square of 3x3 makes it 2 to 4 pixels wide. One level of 255 is
    the share of brightness that a pixel gains or loses.
    """
    images = np.zeros((40, 9, 9, 3), np.uint8)
    images[:, 3:6, 3:6] = 200
    change = augmentation(asked(zoom=1 / 3), gray=False)
    assert change
    zoomed = change(images, np.random.default_rng(0))
    assert (zoomed[:, 4, 4] == 200).all()
    assert (zoomed[:, 0] == 0).all()
    widths = (zoomed[:, 4, :, 0] > 0).sum(axis=1)
    assert {3, 5} <= set(widths) <= {1, 3, 5}, "symmetric about the middle"
    change = augmentation(asked(brightness=0.1), gray=False)
    assert change
    lighter = change(np.full((40, 4, 4, 3), 100, np.uint8), np.random.default_rng(0)).astype(int)
    assert (lighter == lighter[:, :1, :1, :1]).all()
    assert np.abs(lighter - 100).max() <= 26
    assert len(set(lighter[:, 0, 0, 0])) > 10
    assert lighter.min() < 90 < 110 < lighter.max()


def test_augmentation_depends_on_seed_epoch_and_batch_alone() -> None:
    change = augmentation(asked(flip=True, shift=2, zoom=0.2, brightness=0.2), gray=True)
    labels = np.zeros(len(IMAGES), np.int64)
    one, again = (Batches(IMAGES.__getitem__, labels, 50, 3, change) for _ in range(2))
    again.start_epoch(5)
    again[0]
    again.start_epoch(0)
    np.testing.assert_array_equal(one[1][0], again[1][0])
    one.start_epoch(1)
    assert not np.array_equal(one[1][0], again[1][0])
