from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import resize
from sklearn.model_selection import train_test_split

from thaw.config.params import Params, Samples
from thaw.data import image_store
from thaw.data.dataset import EXAMPLES, PARTS
from thaw.data.fashion_mnist import GrayImages
from thaw.data.image_store import open_images, write_images
from thaw.data.preparing import store_gray
from thaw.data.resizing import resize_gray, resize_operator, to_rgb
from thaw.data.splits import check_split, draw_parts, drawn_count, make_splits, stratified
from thaw.support.errors import ThawError

Gray = Callable[..., GrayImages]


@pytest.mark.parametrize(
    ("side", "size"), [(28, 32), (32, 33), (32, 64), (32, 100), (32, 223), (32, 224)]
)
def test_resizing_is_scikit_images_rounded(side: int, size: int) -> None:
    gray = np.random.default_rng(size).integers(0, 256, (20, side, side), dtype=np.uint8)
    expected = np.stack(
        [resize(i, (size, size), order=1, mode="constant", preserve_range=True) for i in gray]
    )
    assert np.abs(resize_gray(gray, size) - expected).max() <= 0.5 + 1e-6


def test_doubling_by_hand() -> None:
    # Target pixels lie at -1/4, 1/4, 3/4, 5/4: weights 3/4 and 1/4, with zero outside the image.
    small = np.array([[[0, 160], [0, 160]]], dtype=np.uint8)
    edge, middle = [0, 40 * 0.75, 120 * 0.75, 120 * 0.75], [0, 40, 120, 120]
    expected = np.array([edge, middle, middle, edge])
    np.testing.assert_array_equal(resize_gray(small, 4)[0], expected)


def test_resizing_sums_whole_numbers_only() -> None:
    for size in (32, 57, 224):
        operator, denominator = resize_operator(32, size)
        reference = resize(np.eye(32), (size, 32), order=1, mode="constant")
        np.testing.assert_allclose(operator / denominator, reference, atol=1e-12)
        np.testing.assert_array_equal(operator, np.rint(operator))


def test_the_notebooks_224_image_is_reached(gray: Gray) -> None:
    small = resize_gray(gray(3).images, 32)
    notebook = resize(to_rgb(small)[1], (224, 224), mode="constant")  # floats in [0, 1]
    ours = to_rgb(resize_gray(small, 224))[1]
    assert ours.shape == (224, 224, 3)
    assert np.abs(ours - notebook * 255).max() <= 0.5 + 1e-6


def test_stratified_keeps_the_classes_and_loses_nothing() -> None:
    labels = np.repeat(np.arange(10), 30)
    drawn, rest = stratified(labels, 50, seed=3)
    np.testing.assert_array_equal(np.bincount(labels[drawn]), [5] * 10)
    np.testing.assert_array_equal(np.sort(np.concatenate([drawn, rest])), np.arange(300))
    np.testing.assert_array_equal(drawn, np.sort(drawn))
    np.testing.assert_array_equal(drawn, stratified(labels, 50, seed=3)[0])
    assert not np.array_equal(drawn, stratified(labels, 50, seed=4)[0])


@pytest.mark.parametrize(("each", "count"), [(30, 0), (30, 300), (30, 295), (30, 4), (1, 5)])
def test_stratified_may_draw_all_or_nearly_all_or_hardly_any(each: int, count: int) -> None:
    labels = np.repeat(np.arange(10), each)
    drawn, rest = stratified(labels, count, seed=0)
    assert len(drawn) == (count or 300)
    np.testing.assert_array_equal(np.sort(np.concatenate([drawn, rest])), np.arange(10 * each))


def test_splits_share_no_image_and_test_is_kept_apart(gray: Gray) -> None:
    train, test = gray(60_000), gray(1_000, seed=1)
    splits = make_splits(train, test, Samples(seed=0, train=0, validation=2_000, test=0))
    check_split({part: splits[part].positions for part in ("train", "validation")})
    assert [len(splits[name]) for name in (*PARTS, EXAMPLES)] == [58_000, 2_000, 1_000, 2]
    assert not set(splits["train"].positions) & set(splits["validation"].positions)
    assert splits["test"].gray is test
    np.testing.assert_array_equal(
        np.bincount(train.labels[splits["validation"].positions]), [200] * 10
    )
    np.testing.assert_array_equal(splits["examples"].gray.images[0], train.images[6])
    np.testing.assert_array_equal(splits["examples"].gray.images[1], test.images[0])


def test_an_overlap_is_refused(gray: Gray, params: Params) -> None:
    train = make_splits(gray(100), gray(100), params.samples)["train"].positions
    with pytest.raises(ThawError, match="train and validation overlap"):
        check_split({"train": train, "validation": train[:1]})


@pytest.fixture
def folder(tmp_path: Path, gray: Gray, params: Params, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(
        image_store, "_IMAGES_OF_A_TASK", 24
    )  # several for a split, the last not whole
    store_gray(gray(100), gray(100), tmp_path, params.samples)
    return tmp_path


@pytest.mark.parametrize("size", [32, 48, 224])
def test_images_come_back_as_they_went_in(
    folder: Path, gray: Gray, params: Params, size: int
) -> None:
    train = make_splits(gray(100), gray(100), params.samples)["train"]
    small = resize_gray(train.gray.images[train.positions], 32)
    expected = to_rgb(small if size == 32 else resize_gray(small, size))
    opened = open_images(folder, size, "train")
    assert len(opened) == 60
    order = np.array([5, 0, 59, 5])
    batch = opened.batch(order)
    assert batch.dtype == np.uint8
    np.testing.assert_array_equal(batch, expected[order])
    np.testing.assert_array_equal(opened.labels, train.gray.labels[train.positions])


def test_a_sample_is_stratified_and_reads_its_own_images(folder: Path) -> None:
    opened = open_images(folder, 32, "train")
    some = opened.sample(20, seed=1)
    np.testing.assert_array_equal(np.bincount(some.labels), [2] * 10)
    np.testing.assert_array_equal(some.batch(slice(3, 5)), opened.batch(some.rows[3:5]))
    np.testing.assert_array_equal(some.positions, opened.positions[some.rows])
    assert len(some.first(3)) == 3


def test_the_large_version_is_compressed_to_a_third_of_itself_and_more(folder: Path) -> None:
    # The three channels are equal, and only one of them may cost space.
    with h5py.File(folder / "rgb224.h5") as file:
        stored = file["train"]["images"]
        assert stored.id.get_storage_size() < 60 * 224 * 224 * 3 / 3


def test_files_are_the_same_bytes_at_every_run(folder: Path, gray: Gray, params: Params) -> None:
    before = (folder / "rgb32.h5").read_bytes()
    write_images(folder / "rgb32.h5", make_splits(gray(100), gray(100), params.samples), 32)
    assert (folder / "rgb32.h5").read_bytes() == before


@pytest.mark.parametrize("content", [None, b"", b"not HDF5 at all"])
@pytest.mark.parametrize("name", ["rgb32.h5", "dataset.json"])
def test_a_damaged_file_is_named(folder: Path, name: str, content: bytes | None) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(ThawError, match=rf"{name} cannot be read[\s\S]*dvc repro"):
        open_images(folder, 32, "train")


def test_labels_outside_the_classes_are_refused(folder: Path) -> None:
    with h5py.File(folder / "rgb32.h5", "r+") as file:
        file["test"]["labels"][0] = 10
    with pytest.raises(ThawError, match=r"labels must be 0 to 9"):
        open_images(folder, 32, "test")


def test_a_damaged_image_is_named_when_it_is_read(folder: Path) -> None:
    with h5py.File(folder / "rgb224.h5", "r+") as file:
        file["test/images"].id.write_direct_chunk((3, 0, 0), b"no zstd")
    images = open_images(folder, 224, "test")
    with pytest.raises(ThawError, match=r"rgb224\.h5 cannot be read.*dvc repro"):
        images.batch(slice(0, 10))


@pytest.mark.parametrize("size", [32, 224])
def test_a_file_with_too_few_images_is_refused(folder: Path, size: int) -> None:
    with h5py.File(folder / f"rgb{size}.h5", "r+") as file:
        for name in ("labels", "positions"):
            values = np.append(file["test"][name][:], 0)
            del file["test"][name]
            file["test"][name] = values
    with pytest.raises(ThawError, match=r"label for each image\. Received: 20 images, 21 labels"):
        open_images(folder, size, "test")


# Where scikit-learn's split refuses. (class sizes, drawn, what each class may give)
BY_HAND = [
    # 270 of 2,701: 29.99 each, and a tenth of the one image, which is the smallest fraction.
    # But every class gives one where there are enough to draw.
    ([300] * 9 + [1], 270, [{29, 30}] * 9 + [{1}]),
    # 2,431 of 2,701: 270.01 each, and 0.90 of the one image, which is the largest.
    ([300] * 9 + [1], 2_431, [{270}] * 9 + [{1}]),
    # Half of everything: 1.5 of three, 0.5 of one.
    ([3, 3, 1, 1], 4, [{1, 2}, {1, 2}, {0, 1}, {0, 1}]),
    # Fewer images than classes, drawn or left: 0.4 of an image each, 29.5 each.
    ([30] * 10, 4, [{0, 1}] * 10),
    ([30] * 10, 295, [{29, 30}] * 10),
    # 1.2 of nine, 0.4 of either three: what 1.2 leaves over is the smallest.
    ([9, 3, 3], 2, [{1}, {0, 1}, {0, 1}]),
    ([1] * 5, 2, [{0, 1}] * 5),
]


@pytest.mark.parametrize(("sizes", "count", "allowed"), BY_HAND)
def test_classes_keep_their_shares_where_one_is_rare_or_few_are_drawn(
    sizes: list[int], count: int, allowed: list[set[int]]
) -> None:
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    for seed in range(20):
        drawn, _ = stratified(labels, count, seed)
        of_each = np.bincount(labels[drawn], minlength=len(sizes))
        assert of_each.sum() == count
        assert all(number in some for number, some in zip(of_each, allowed, strict=True))


def test_equal_fractions_are_drawn_for() -> None:
    """Else the classes that come first would always give more."""
    labels = np.arange(5)
    given = {tuple(stratified(labels, 2, seed)[0]) for seed in range(100)}
    assert len(given) == 10, "each pair of the five"


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    part=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_a_draw_keeps_every_class_near_its_share(sizes: list[int], part: float, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)) * 3, sizes))
    count = min(1 + int(part * len(labels)), len(labels))
    drawn, rest = stratified(labels, count, seed)
    assert len(drawn) == count
    np.testing.assert_array_equal(np.sort(np.concatenate([drawn, rest])), np.arange(len(labels)))
    assert count < len(sizes) or set(labels[drawn]) == set(labels), "one of every class"
    rare = (count * np.array(sizes) < len(labels)).sum() if count >= len(sizes) else 0
    for positions in (drawn, rest):
        np.testing.assert_array_equal(positions, np.sort(positions))
        of_each = np.array([(labels[positions] == 3 * i).sum() for i in range(len(sizes))])
        off = np.abs(of_each - len(positions) * np.array(sizes) / len(labels))
        assert (off < 1 + rare).all(), "within one, but for what rare classes took from others"
    again = stratified(labels, count, seed)
    np.testing.assert_array_equal(again[0], drawn)


def test_a_draw_that_scikit_learn_allows_is_its_own() -> None:
    """The committed results hang on it."""
    labels = np.random.default_rng(0).integers(0, 10, 1_000)
    expected = train_test_split(np.arange(1_000), train_size=100, stratify=labels, random_state=3)
    for mine, theirs in zip(stratified(labels, 100, seed=3), expected, strict=True):
        np.testing.assert_array_equal(mine, np.sort(theirs))


def test_who_asks_for_more_than_there_is_gets_all_and_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    drawn, rest = stratified(np.repeat([0, 1], 10), 21, seed=0)
    np.testing.assert_array_equal(drawn, np.arange(20))
    assert not len(rest)
    assert "21 images are asked for, and 20 are there: all are taken" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "taken"), [(0, 20), (1, 10), (12, 12), (33, 33), (34, 20), (2_000, 20)]
)
def test_a_part_that_has_to_be_drawn_leaves_most_to_train_on(
    asked: int, taken: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drawn_count("validation", asked, np.arange(100) % 10) == taken
    assert (f"Received: {asked:,}" in capsys.readouterr().out) == (asked not in (0, taken))


def pictures(sizes: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, groups and parts of pictures that are all different."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return labels, np.arange(len(labels)), np.full(len(labels), "train", "U10")


ALL = Samples(seed=0, train=0, validation=2_000, test=0)


@pytest.mark.parametrize("sizes", [[3, 3], [3] * 25, [100, 10_000], [3, 1_000], [7, 8, 9]])
def test_every_class_is_in_every_part(sizes: list[int]) -> None:
    labels, groups, _ = pictures(sizes)
    drawn = draw_parts(labels, groups, None, ALL)
    assert list(drawn) == list(PARTS)
    check_split(drawn)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(drawn.values()))), groups)
    for positions in drawn.values():
        assert set(labels[positions]) == set(labels)


def test_parts_that_the_folder_gives_stay_and_the_others_come_from_train() -> None:
    labels, groups, parts = pictures([50, 50])
    parts[::5] = "test"
    drawn = draw_parts(labels, groups, parts, ALL)
    np.testing.assert_array_equal(drawn["test"], np.arange(0, 100, 5))
    assert (len(drawn["train"]), len(drawn["validation"])) == (64, 16), "a fifth of 80"
    assert not set(drawn["validation"]) & set(drawn["test"])


def test_copies_of_a_picture_are_in_one_part() -> None:
    labels, groups, parts = pictures([60, 60])
    groups //= 3  # each picture three times
    for seed in range(5):
        drawn = draw_parts(labels, groups, parts, ALL.model_copy(update={"seed": seed}))
        where = {part: set(groups[positions]) for part, positions in drawn.items()}
        assert sum(map(len, where.values())) == 40
        assert len(set.union(*where.values())) == 40


def test_samples_limit_how_many_of_a_part_are_used() -> None:
    few = Samples(seed=0, train=20, validation=10, test=12)
    drawn = draw_parts(*pictures([50, 50]), few)
    assert [len(drawn[part]) for part in PARTS] == [20, 10, 12]
    labels, groups, parts = pictures([50, 50])
    parts[:] = ["train", "test"] * 50
    drawn = draw_parts(labels, groups, parts, few)
    assert [len(drawn[part]) for part in PARTS] == [20, 10, 12]
