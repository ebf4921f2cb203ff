"""Views are a function of their key, differ from each other, and are what their names say."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torchvision.transforms.v2 import functional

from uncollapse.data import (
    Augmenter,
    Blur,
    Crop,
    Draws,
    Flip,
    Grey,
    Jitter,
    Rotate,
    Scales,
    Shift,
    ViewsConfig,
    preset,
    training_scales,
)
from uncollapse.errors import InputError

STRENGTHS = ["weak", "medium", "strong"]
KEY = (0, 1, 2, 3)
UNIT = Scales(np.zeros(6, np.float32), np.ones(6, np.float32))


def images(count, channels, height=12, width=10):
    shape = (count, channels, height, width)
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8))


def augmenter(augmentation, kind="image", shape=(1, 12, 10), scales=None, **more):
    config = {"augmentation": augmentation, "normalisation": "none", **more}
    return Augmenter(ViewsConfig.model_validate(config), kind, shape, scales)


def draws(seed=0):
    return Draws(np.random.default_rng(seed), torch.device("cpu"))


class Constant(Draws):
    """Draws that are all the same share of their range."""

    def __init__(self, share):
        super().__init__(np.random.default_rng(0), torch.device("cpu"))
        object.__setattr__(self, "share", share)

    def uniform(self, shape, low=0, high=1):
        return torch.full(
            (shape,) if isinstance(shape, int) else shape, low + self.share * (high - low)
        )


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("strength", STRENGTHS)
def test_every_view_is_another_and_stays_in_range(strength, channels):
    same = images(1, channels).expand(20, -1, -1, -1)
    views = augmenter(strength, shape=(channels, 12, 10)).views(same, key=KEY)
    assert views.shape == (20, 2, channels, 12, 10)
    assert views.dtype == torch.float32
    assert views.min() >= 0
    assert views.max() <= 1 + 1e-6
    flat = views.flatten(0, 1).flatten(1)
    least = 20 if strength == "weak" else 40  # there are only 30 shifts and flips
    assert len(torch.unique(flat, dim=0)) >= least


@pytest.mark.parametrize(
    "augmentation", ["strong", ["RandomErasing", {"RandomRotation": {"degrees": 9.0}}]]
)
def test_views_are_a_function_of_the_key_alone(augmentation):
    raw, made = images(6, 3), augmenter(augmentation, shape=(3, 12, 10))
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    first = made.views(raw, key=KEY)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    torch.manual_seed(2)
    again = augmenter(augmentation, shape=(3, 12, 10)).views(raw, key=KEY)
    assert torch.equal(first, again)
    assert not torch.equal(first, made.views(raw, key=(0, 1, 2, 4)))
    assert not torch.equal(first[:, 0], first[:, 1])


def test_affine_operations_are_what_they_say():
    x = images(5, 2, 8, 8).float() / 255
    close = {"atol": 1e-5, "rtol": 0}
    torch.testing.assert_close(Flip(p=1.0).apply(x, draws()), x.flip(3), **close)
    torch.testing.assert_close(Flip(p=1.0, axis="vertical").apply(x, draws()), x.flip(2), **close)
    torch.testing.assert_close(Flip(p=0.0).apply(x, draws()), x, **close)
    whole = Crop(scale=(1.0, 1.0), ratio=(1.0, 1.0))
    torch.testing.assert_close(whole.apply(x, draws()), x, **close)
    quarter = Rotate(degrees=180.0).apply(x, Constant(0.75))
    turns = [torch.rot90(x, k, (2, 3)) for k in (1, 3)]
    assert any(torch.allclose(quarter, turn, atol=1e-5) for turn in turns)
    # The corner crop of a quarter of the area: the upper left quadrant, twice as large.
    corner = Crop(scale=(0.25, 0.25), ratio=(1.0, 1.0)).apply(x, Constant(0.0))
    expected = torch.nn.functional.interpolate(
        x, scale_factor=2, mode="bilinear", align_corners=False
    )[:, :, :8, :8]
    torch.testing.assert_close(corner[:, :, :7, :7], expected[:, :, :7, :7], **close)


def test_rotation_keeps_lengths_on_an_oblong_image():
    matrix = Rotate(degrees=60.0).matrices(4, 30, 10, draws())[:, :, :2]
    pixels = torch.diag(torch.tensor([10.0, 30.0]))
    turned = pixels @ matrix @ torch.linalg.inv(pixels)
    torch.testing.assert_close(turned @ turned.mT, torch.eye(2).expand(4, 2, 2))


def test_shift_moves_by_whole_pixels_and_continues_the_border():
    x = images(200, 1, 16, 8).float() / 255
    moved = Shift().apply(x, draws())
    padded = torch.nn.functional.pad(x, (1, 1, 2, 2), mode="replicate")
    seen = set()
    for old, new in zip(padded, moved, strict=True):
        hits = [
            (dy, dx)
            for dy in range(5)
            for dx in range(3)
            if torch.allclose(old[:, dy : dy + 16, dx : dx + 8], new, atol=1e-5)
        ]
        assert len(hits) == 1
        seen.add(hits[0])
    assert len(seen) == 15


def test_joined_operations_are_the_operations_in_order():
    x = images(9, 1)
    listed = [{"shift": {"fraction": 0.3}}, "flip", {"flip": {"axis": "vertical"}}]
    joined = augmenter(listed, count=1).views(x, key=KEY)[:, 0]
    apart, same = x.float() / 255, draws(KEY)
    for step in (Shift(fraction=0.3), Flip(), Flip(axis="vertical")):
        apart = step.apply(apart, same)
    torch.testing.assert_close(joined, apart, atol=1e-5, rtol=0)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.75, 1.0])
def test_colour_operations_agree_with_torchvision(share):
    x = images(7, 3).float() / 255
    off = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    for kind, most in (("brightness", 0.5), ("contrast", 0.5), ("saturation", 1.0), ("hue", 0.5)):
        # Below 1, so that every image is chosen.
        changed = Jitter(**off | {kind: most}, p=1.0).apply(x, Constant(min(share, 0.999)))
        amount = most * (2 * min(share, 0.999) - 1)
        factor = amount if kind == "hue" else 1 + amount
        expected = getattr(functional, f"adjust_{kind}")(x, factor)
        # torchvision's weight of red is .2989, kornia's .299: grey differs by up to 1e-4.
        torch.testing.assert_close(changed, expected, atol=1.1e-4, rtol=0)


def test_grey_and_blur_are_what_they_say():
    x = images(7, 3).float() / 255
    grey = Grey(p=1.0).apply(x, draws())
    luma = (x * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    torch.testing.assert_close(grey, luma.expand_as(x), atol=1e-6, rtol=0)
    assert torch.equal(grey[:, 0], grey[:, 2])
    blurred = Blur(sigma=(1.0, 2.0), p=1.0).apply(x, draws())
    assert (blurred.flatten(1).std(1) < x.flatten(1).std(1)).all()
    expected = functional.gaussian_blur(x, [3, 3], [1.5, 1.5])
    blurred = Blur(sigma=(1.0, 2.0), p=1.0).apply(x, Constant(0.5))
    torch.testing.assert_close(blurred, expected, atol=1e-5, rtol=0)


def test_named_strengths_do_not_mirror_where_flip_is_off():
    left = torch.zeros(300, 1, 12, 10, dtype=torch.uint8)
    left[..., :3] = 255

    def bright_side(flip):
        views = augmenter("weak", flip=flip).views(left, key=KEY)
        return (views[..., :5].mean((2, 3, 4)) > views[..., 5:].mean((2, 3, 4))).float().mean()

    assert bright_side(False) == 1
    assert 0.4 < bright_side(True) < 0.6
    for strength in STRENGTHS:
        assert not any(isinstance(o, Flip) for o in preset(strength, image=True, flip=False))


def test_vectors_are_masked_to_the_mean_and_noisy_by_their_own_scale():
    scales = Scales(np.float32([5, 0, -3]), np.float32([1, 10, 0]))
    raw = torch.full((4000, 3), 7.0)
    masked = augmenter([{"mask": {"p": 0.3}}], "vector", (3,), scales).views(raw, key=KEY)
    assert set(masked[..., 0].unique().tolist()) == {5.0, 7.0}
    assert set(masked[..., 2].unique().tolist()) == {-3.0, 7.0}
    shares = (masked != 7).float().mean((0, 1))
    assert ((shares - 0.3).abs() < 0.03).all()
    noisy = augmenter([{"noise": {"std": 0.5}}], "vector", (3,), scales).views(raw, key=KEY)
    torch.testing.assert_close(
        noisy.std((0, 1)), torch.tensor([0.5, 5.0, 0.0]), rtol=0.05, atol=1e-6
    )
    assert not torch.equal(noisy[:, 0], noisy[:, 1])


def test_stored_views_are_drawn_without_replacement():
    raw = torch.arange(4.0)[None, :, None].expand(600, 4, 6)
    views = augmenter("none", "views", (4, 6), UNIT, count=3).views(raw, key=KEY)[..., 0]
    assert all(len(set(row)) == 3 for row in views.tolist())
    shares = torch.bincount(views.flatten().long()) / 600
    assert ((shares - 0.75).abs() < 0.08).all()
    torch.testing.assert_close(augmenter("none", "views", (4, 6)).plain(raw), raw[:, 0])


def test_normalisation_is_by_training_scales_numbers_or_none():
    class Inputs:
        kind, shape = "image", (3, 12, 10)

        def read(self, rows):
            return raw[torch.from_numpy(rows)]

    raw = images(3000, 3)
    scales = training_scales(Inputs(), np.arange(3000))
    plain = Augmenter(ViewsConfig(), "image", (3, 12, 10), scales).plain(raw)
    torch.testing.assert_close(plain.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(plain.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
    by_hand = augmenter(
        "none", shape=(3, 12, 10), normalisation={"mean": 0.5, "std": [0.5, 0.5, 2]}
    )
    expected = (raw / 255 - 0.5) / torch.tensor([0.5, 0.5, 2])[:, None, None]
    torch.testing.assert_close(by_hand.plain(raw), expected)
    torch.testing.assert_close(by_hand.views(raw, key=KEY)[:, 1], expected)
    constant = Scales(np.float32([0.1] * 3), np.float32([0.0] * 3))
    assert Augmenter(ViewsConfig(), "image", (3, 12, 10), constant).plain(raw).isfinite().all()


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        (["twist"], "'twist' is none of crop"),
        ([{"crop": {"scal": [0.1, 1.0]}}], "crop.scal is no known key"),
        ([{"crop": {"scale": [0.1, "1"]}}], "crop.scale.1"),
        ([{"crop": {"scale": [0.5, 0.1]}}], "two ascending numbers"),
        ([{"crop": {}, "flip": {}}], "each item of the list"),
        (["flip"], "flip is false"),
        ("mild", "augmentation"),
    ],
)
def test_wrong_lists_are_refused_with_the_configuration(augmentation, message):
    with pytest.raises(ValidationError, match=message):
        ViewsConfig.model_validate({"augmentation": augmentation, "flip": False})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"augmentation": ["mask"]}, "rows of kind image .*found mask"),
        ({"augmentation": ["grey"]}, "found 1 channels"),
        ({"augmentation": ["RandomNothing"]}, "found RandomNothing"),
        ({"augmentation": [{"RandomErasing": {"size": 3}}]}, "for RandomErasing; found .*size"),
        ({"augmentation": [{"RandomCrop": {"size": [4, 4]}}]}, "keep the shape"),
        ({"augmentation": [{"RandomErasing": {"same_on_batch": True}}]}, "images drawn apart"),
        ({"augmentation": "weak", "kind": "vector", "shape": (6,)}, "training_scales"),
        ({"augmentation": "weak", "normalisation": "training"}, "training_scales"),
        ({"augmentation": ["flip"], "kind": "vector", "shape": (6,)}, "mask, noise.*found flip"),
        ({"augmentation": "none", "kind": "views", "shape": (1, 6)}, "at most the 1 stored views"),
        ({"augmentation": "none", "scales": UNIT}, "scales of 1 channels; found 6"),
        ({"augmentation": "none", "normalisation": {"mean": [1, 2], "std": 1}}, "1 or 1 numbers"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_rows_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        augmenter(**given)
