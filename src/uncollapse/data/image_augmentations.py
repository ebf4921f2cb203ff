"""Random changes of images: where their pixels are, and what colour.

Functions of kornia and torch apply what is drawn here, for each image apart.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import grid_sample

from uncollapse.data.augmentations import Draws, Mask, Noise, Operation, Probability

# YAML has lists only, which a strict model does not take for a tuple.
Range = Annotated[tuple[float, float], Field(strict=False)]


class Geometric(Operation):
    """An affine map of the image plane."""

    @abstractmethod
    def matrices(self, count: int, height: int, width: int, draws: Draws) -> Tensor:
        """(count, 2, 3): where in the old image each place of the new one is, in [-1, 1]."""

    def apply(self, values: Tensor, draws: Draws) -> Tensor:
        """The image, interpolated; places beyond the border take the nearest border pixel."""
        return warp(values, [self], draws)


def warp(images: Tensor, operations: Sequence[Geometric], draws: Draws) -> Tensor:
    """Images (n, C, H, W) changed by affine operations in order, with one bilinear interpolation.

    The maps are joined here, and not applied one by one as kornia does: interpolated once, a crop
    stays sharp, and where it is turned its corners show the image around it. On 64 images of 28
    pixels a crop and a flip take .5 ms, in kornia's classes 1.2 ms.
    """
    count, _, height, width = images.shape
    matrix = torch.eye(2, 3, device=images.device).expand(count, -1, -1)
    for operation in operations:
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
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


def _scale_and_move(x_scale: Tensor, y_scale: Tensor, x: Tensor, y: Tensor) -> Tensor:
    zero = torch.zeros_like(x)
    return torch.stack([x_scale, zero, x, zero, y_scale, y], dim=1).view(-1, 2, 3)


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
        low, high = map(math.log, self.ratio)
        ratio = draws.uniform((count, 10), low, high).exp()
        w, h = (area * ratio).sqrt() / width, (area / ratio).sqrt() / height
        fits = (w <= 1) & (h <= 1)
        first = fits.int().argmax(1, keepdim=True)  # try 0 where none fits
        w, h = w.gather(1, first)[:, 0].clamp(max=1), h.gather(1, first)[:, 0].clamp(max=1)
        x, y = (1 - w) * draws.uniform(count, -1, 1), (1 - h) * draws.uniform(count, -1, 1)
        return _scale_and_move(w, h, x, y)


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
            pixels = (draws.uniform(count) * (2 * most + 1)).floor() - most
            moves.append(pixels * 2 / length)
        same = torch.ones_like(moves[0])
        return _scale_and_move(same, same, *moves)


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
        same, still = torch.ones_like(sign), torch.zeros_like(sign)
        scales = (sign, same) if self.axis == "horizontal" else (same, sign)
        return _scale_and_move(*scales, still, still)


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
        rows = [cosine, -sine * height / width, zero, sine * width / height, cosine, zero]
        return torch.stack(rows, dim=1).view(-1, 2, 3)


class Jitter(Operation):
    """Brightness, contrast, saturation and hue changed by random amounts.

    As torchvision's ColorJitter; the order of the four is drawn for each call, not for each image.
    Saturation and hue are left out where an image has not three channels.

    Attributes:
        brightness: The factor is uniform in [1 - b, 1 + b].
        contrast: The same, for the distance to the image's mean grey.
        saturation: The same, for the distance to each pixel's grey.
        hue: Largest turn of the colour circle, up to .5.
        p: Probability that an image is changed at all.
    """

    brightness: Probability = 0.4
    contrast: Probability = 0.4
    saturation: Probability = 0.4
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    p: Probability = 0.8

    def apply(self, values: Tensor, draws: Draws) -> Tensor:
        """The changed images."""
        from kornia import enhance

        chosen = draws.chosen(len(values), self.p)
        changes = (
            enhance.adjust_brightness_accumulative,
            enhance.adjust_contrast_with_mean_subtraction,
            enhance.adjust_saturation_with_gray_subtraction,
            enhance.adjust_hue,
        )
        for which in draws.generator.permutation(4):
            most = (self.brightness, self.contrast, self.saturation, self.hue)[which]
            amount = draws.uniform(len(values), -most, most) * chosen
            if most and (which < 2 or values.shape[1] == 3):
                values = changes[which](values, 2 * math.pi * amount if which == 3 else 1 + amount)
        return values


class Grey(Operation):
    """A colour image made grey, with three equal channels.

    Attributes:
        p: Probability.
    """

    channels: ClassVar[int | None] = 3

    p: Probability = 0.2

    def apply(self, values: Tensor, draws: Draws) -> Tensor:
        """The images, some of them grey."""
        from kornia.color import rgb_to_grayscale

        chosen = draws.chosen(len(values), self.p)[:, None, None, None]
        return torch.where(chosen, rgb_to_grayscale(values), values)


class Blur(Operation):
    """Gaussian blur with a kernel of a tenth of the shorter side, at least 3 pixels.

    Attributes:
        sigma: Least and largest standard deviation, in pixels.
        p: Probability.
    """

    sigma: Range = (0.1, 2.0)
    p: Probability = 0.5

    def model_post_init(self, _: Any) -> None:
        """Check the range."""
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"sigma must be two ascending numbers above 0, not {self.sigma}")

    def apply(self, values: Tensor, draws: Draws) -> Tensor:
        """The images, some of them blurred."""
        from kornia.filters import gaussian_blur2d

        chosen = draws.chosen(len(values), self.p)
        sigma = draws.uniform(len(values), *self.sigma)[chosen, None].expand(-1, 2)
        side = max(3, round(min(values.shape[2:]) / 10) // 2 * 2 + 1)
        values = values.clone()
        if len(sigma):
            values[chosen] = gaussian_blur2d(values[chosen], (side, side), sigma)
        return values


# By the names that a configuration gives them.
OPERATIONS: dict[str, type[Operation]] = {
    operation.__name__.lower(): operation
    for operation in (Crop, Shift, Flip, Rotate, Jitter, Grey, Blur, Mask, Noise)
}
