"""Random changes of a batch, drawn for each view apart from a generator that is handed in.

Images are float32 (n, C, H, W) in [0, 1], vectors float32 (n, D). Crops, shifts, flips and
rotations are affine maps, so a run of them is one matrix per image and the image is interpolated
once. These few are written out here because kornia's classes draw from torch's global generator
and take three times as long on small batches of small images; its other classes are at hand by name
(see `KorniaOperation`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from uncollapse.data.scales import Scales

__all__ = ["Crop", "Draws", "Flip", "Geometric", "Mask", "Noise", "Operation", "Rotate", "Shift"]

Kind = Literal["image", "vector"]
Probability = Annotated[float, Field(ge=0, le=1)]
# YAML has lists only, which a strict model does not take for a tuple.
Range = Annotated[tuple[float, float], Field(strict=False)]


@dataclass(frozen=True)
class Draws:
    """Random numbers of one call, and the scales of the training rows.

    Numbers come from numpy on the CPU, so they are the same on every device.
    """

    generator: np.random.Generator
    device: torch.device
    scales: Scales | None = None

    def uniform(self, shape: int | tuple[int, ...], low: float = 0, high: float = 1) -> Tensor:
        """Uniform in [low, high), float32."""
        drawn = self.generator.random(shape, dtype=np.float32)
        return torch.from_numpy(drawn).to(self.device) * (high - low) + low

    def chosen(self, count: int, probability: float) -> Tensor:
        """Which of `count` views an operation is for, bool."""
        return self.uniform(count) < probability

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal, float32."""
        drawn = self.generator.standard_normal(shape, dtype=np.float32)
        return torch.from_numpy(drawn).to(self.device)


class Operation(BaseModel):
    """One random change; its fields are the arguments that a configuration may give."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    kind: ClassVar[Kind] = "image"
    channels: ClassVar[tuple[int, ...] | None] = None  # None: any number

    def apply(self, values: Tensor, draws: Draws) -> Tensor:
        """The changed batch, a new tensor."""
        raise NotImplementedError


class Geometric(Operation):
    """An affine map of the image plane."""

    def matrices(self, count: int, height: int, width: int, draws: Draws) -> Tensor:
        """(count, 2, 3): where in the old image each place of the new one is, in [-1, 1]."""
        raise NotImplementedError

    def apply(self, values: Tensor, draws: Draws) -> Tensor:
        """The image, interpolated; places beyond the border take the nearest border pixel."""
        return warp(values, [self], draws)


def warp(images: Tensor, operations: list[Geometric], draws: Draws) -> Tensor:
    """Apply affine operations in order with one bilinear interpolation.

    Args:
        images: (n, C, H, W) float32.
        operations: One or more, the first is applied first.
        draws: Random numbers.

    Returns:
        (n, C, H, W) float32.
    """
    count, _, height, width = images.shape
    matrix = operations[0].matrices(count, height, width, draws)
    for operation in operations[1:]:
        inner = operation.matrices(count, height, width, draws)
        moved = matrix[:, :, :2] @ inner
        moved[:, :, 2] += matrix[:, :, 2]
        matrix = moved
    # torch's affine_grid is a matrix product per pixel; broadcasting takes a third of it.
    x = (torch.arange(width, device=images.device) * 2 + 1) / width - 1
    y = (torch.arange(height, device=images.device) * 2 + 1) / height - 1
    grid = images.new_empty(count, height, width, 2)
    for axis in range(2):
        a, b, c = matrix[:, axis, :, None].unbind(1)
        torch.add((a * x + c)[:, None, :], (b * y)[:, :, None], out=grid[..., axis])
    return torch.nn.functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="border", align_corners=False
    )


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, f: Tensor) -> Tensor:
    return torch.stack([a, b, c, d, e, f], dim=1).view(-1, 2, 3)


class Crop(Geometric):
    """A rectangle of random area and aspect, stretched to the whole image.

    As torchvision's RandomResizedCrop: ten tries, then the largest rectangle that fits; the
    rectangle is not rounded to whole pixels.

    Attributes:
        scale: Least and largest area, as a share of the image's, in (0, 1].
        ratio: Least and largest width / height.
    """

    scale: Range = (0.2, 1.0)
    ratio: Range = (3 / 4, 4 / 3)

    def model_post_init(self, _: Any) -> None:
        """Check the ranges."""
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be two ascending numbers in (0, 1], not {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio must be two ascending numbers above 0, not {self.ratio}")

    def matrices(self, count: int, height: int, width: int, draws: Draws) -> Tensor:
        """Scale by the rectangle's sides, then move to its centre."""
        area = draws.uniform((count, 10), *self.scale) * (height * width)
        low, high = np.log(self.ratio)
        ratio = draws.uniform((count, 10), low, high).exp()
        w, h = (area * ratio).sqrt() / width, (area / ratio).sqrt() / height
        fits = (w <= 1) & (h <= 1)
        first = fits.int().argmax(1, keepdim=True)  # try 0 where none fits
        w, h = w.gather(1, first)[:, 0].clamp(max=1), h.gather(1, first)[:, 0].clamp(max=1)
        x, y = (1 - w) * draws.uniform(count, -1, 1), (1 - h) * draws.uniform(count, -1, 1)
        zero = torch.zeros_like(w)
        return _matrix(w, zero, x, zero, h, y)


class Shift(Geometric):
    """A move by whole pixels; the border is continued into the gap.

    Attributes:
        fraction: Largest move, as a share of height and width (1/8 is 4 of 32 pixels).
    """

    fraction: Annotated[float, Field(ge=0, lt=1)] = 0.125

    def matrices(self, count: int, height: int, width: int, draws: Draws) -> Tensor:
        """A translation."""
        moves = []
        for length in (width, height):
            most = round(self.fraction * length)
            moves.append((draws.uniform(count) * (2 * most + 1)).floor() - most)
        one, zero = torch.ones_like(moves[0]), torch.zeros_like(moves[0])
        x, y = moves[0] * 2 / width, moves[1] * 2 / height
        return _matrix(one, zero, x, zero, one, y)


class Flip(Geometric):
    """A mirror image.

    Attributes:
        p: Probability.
        axis: "horizontal" swaps left and right, "vertical" top and bottom.
    """

    p: Probability = 0.5
    axis: Literal["horizontal", "vertical"] = "horizontal"

    def matrices(self, count: int, height: int, width: int, draws: Draws) -> Tensor:
        """A change of sign."""
        sign = 1 - 2 * draws.chosen(count, self.p).float()
        one, zero = torch.ones_like(sign), torch.zeros_like(sign)
        x, y = (sign, one) if self.axis == "horizontal" else (one, sign)
        return _matrix(x, zero, zero, zero, y, zero)


class Rotate(Geometric):
    """A turn about the centre.

    Attributes:
        degrees: Largest angle, either way.
    """

    degrees: Annotated[float, Field(ge=0, le=180)] = 15.0

    def matrices(self, count: int, height: int, width: int, draws: Draws) -> Tensor:
        """A rotation in pixels, written in coordinates from -1 to 1."""
        angle = torch.deg2rad(draws.uniform(count, -self.degrees, self.degrees))
        cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        return _matrix(cosine, -sine * height / width, zero, sine * width / height, cosine, zero)


class Mask(Operation):
    """Features replaced by their mean over the training rows.

    Attributes:
        p: Share of the features, each drawn alone.
    """

    kind: ClassVar[Kind] = "vector"

    p: Probability = 0.2

    def apply(self, values: Tensor, draws: Draws) -> Tensor:
        """The batch with other features masked in every row."""
        assert draws.scales is not None
        mean = torch.from_numpy(draws.scales.mean).to(values)
        return torch.where(draws.uniform(tuple(values.shape)) < self.p, mean, values)


class Noise(Operation):
    """Gaussian noise.

    Attributes:
        std: Of each feature's noise, as a share of its standard deviation over the training rows.
    """

    kind: ClassVar[Kind] = "vector"

    std: Annotated[float, Field(ge=0)] = 0.1

    def apply(self, values: Tensor, draws: Draws) -> Tensor:
        """The batch with noise added."""
        assert draws.scales is not None
        std = torch.from_numpy(draws.scales.std).to(values)
        return values + draws.normal(tuple(values.shape)) * std * self.std
