"""Corruptions of rows at five strengths, by torchvision and Pillow; each a function of a seed.

Strengths of noise, contrast, brightness, pixelate and jpeg are those of ImageNet-C; of blur the
deviation is a share of the side, as small images need. Hendrycks and Dietterich 2019,
arXiv:1903.12261.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uncollapse.data import Scales
from uncollapse.errors import InputError, nearest

STRENGTHS = (1, 2, 3, 4, 5)
_IMAGES: dict[str, tuple[float, ...]] = {
    "noise": (0.08, 0.12, 0.18, 0.26, 0.38),  # deviation, of values in [0, 1]
    "blur": (0.02, 0.04, 0.06, 0.08, 0.12),  # deviation over the shorter side
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),  # what is left of it
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),  # added, of values in [0, 1]
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),  # resolution that is left
    "jpeg": (25, 18, 15, 10, 7),  # quality
}
_VECTORS: dict[str, tuple[float, ...]] = {
    "noise": (0.1, 0.2, 0.4, 0.8, 1.6),  # deviation over that of the feature's training rows
    "scale": (0.1, 0.2, 0.4, 0.8, 1.6),  # deviation of the log of each feature's factor
}


def check_corruption(name: str, kind: str) -> None:
    """Refuse a corruption that rows of this kind do not have."""
    known = _IMAGES if kind == "image" else _VECTORS
    if name not in known:
        near = nearest(name, known, 0.5)
        remedy = f"did you mean {near}?" if near else "see docs/robustness.md"
        raise InputError(f"a corruption of {kind}s, one of {', '.join(known)}", repr(name), remedy)


def corrupted(
    raw: Tensor, name: str, strength: int, *, kind: str, scales: Scales | None, seed: int = 0
) -> Tensor:
    """Rows as `inputs.read` gives them, corrupted; of the same type and shape.

    Args:
        raw: Images (n, C, H, W) uint8, vectors (n, D) or stored views (n, V, D) float32.
        name: See `StressOptions`.
        strength: 1 to 5.
        kind: "image", "vector" or "views".
        scales: Of the training rows, which vectors need.
        seed: Of noise and factors.

    Examples:
        >>> grey = torch.full((1, 1, 8, 8), 100, dtype=torch.uint8)
        >>> int(corrupted(grey, "brightness", 2, kind="image", scales=None).max())
        151
    """
    check_corruption(name, kind)
    generator = np.random.default_rng((seed, strength))
    if kind == "image":
        level = _IMAGES[name][strength - 1]
        changed: Tensor = _OF_IMAGES[name](raw, level, generator)
        return changed
    assert scales is not None
    level, shape = _VECTORS[name][strength - 1], tuple(raw.shape)
    mean, deviation = (torch.from_numpy(v).to(raw) for v in (scales.mean, scales.std))
    if name == "scale":
        drawn = generator.standard_normal(shape[-1], dtype=np.float32)
        return mean + (raw - mean) * torch.from_numpy(np.exp(level * drawn)).to(raw)
    drawn = generator.standard_normal(shape, dtype=np.float32)
    return raw + level * deviation * torch.from_numpy(drawn).to(raw)


def _bytes(values: Tensor) -> Tensor:
    return (values * 255).round().clamp(0, 255).to(torch.uint8)


def _noise(raw: Tensor, level: float, generator: np.random.Generator) -> Tensor:
    drawn = generator.standard_normal(tuple(raw.shape), dtype=np.float32)
    return _bytes(raw.float() / 255 + level * torch.from_numpy(drawn))


def _blur(raw: Tensor, level: float, generator: np.random.Generator) -> Tensor:
    from torchvision.transforms.v2 import functional

    side = min(raw.shape[-2:])
    deviation = max(level * side, 1e-3)
    reach = min(round(3 * deviation), (side - 1) // 2)
    blurred: Tensor = functional.gaussian_blur(raw, [2 * max(reach, 1) + 1] * 2, [deviation] * 2)
    return blurred


def _contrast(raw: Tensor, level: float, generator: np.random.Generator) -> Tensor:
    values = raw.float() / 255
    mean = values.mean(dim=(-2, -1), keepdim=True)
    return _bytes((values - mean) * level + mean)


def _brightness(raw: Tensor, level: float, generator: np.random.Generator) -> Tensor:
    return _bytes(raw.float() / 255 + level)


def _pixelate(raw: Tensor, level: float, generator: np.random.Generator) -> Tensor:
    from torchvision.transforms.v2 import InterpolationMode, functional

    height, width = raw.shape[-2:]
    small = [max(1, round(height * level)), max(1, round(width * level))]
    less = functional.resize(raw, small, antialias=True)
    whole: Tensor = functional.resize(
        less, [height, width], interpolation=InterpolationMode.NEAREST
    )
    return whole


def _jpeg(raw: Tensor, level: float, generator: np.random.Generator) -> Tensor:
    from PIL import Image

    def again(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        file = io.BytesIO()
        pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        Image.fromarray(pixels).save(file, "jpeg", quality=int(level))
        read = np.asarray(Image.open(file))
        return read[None] if len(image) == 1 else read.transpose(2, 0, 1)

    return torch.from_numpy(np.stack([again(image) for image in raw.numpy()]))


_OF_IMAGES: dict[str, Callable[[Tensor, float, np.random.Generator], Any]] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "brightness": _brightness,
    "pixelate": _pixelate,
    "jpeg": _jpeg,
}
