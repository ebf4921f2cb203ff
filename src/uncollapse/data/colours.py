"""Random changes of brightness, contrast, colour and sharpness, each image apart."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from uncollapse.data.augmentations import Draws, Operation, Probability, Range

__all__ = ["Blur", "Grey", "Jitter"]

Strength = Annotated[float, Field(ge=0, le=1)]


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

    brightness: Strength = 0.4
    contrast: Strength = 0.4
    saturation: Strength = 0.4
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    p: Probability = 0.8

    def apply(self, values: Tensor, draws: Draws) -> Tensor:
        """The changed images."""
        count = len(values)
        chosen = draws.chosen(count, self.p).float()
        colour = values.shape[1] == 3
        for which in draws.generator.permutation(4):
            strength = (self.brightness, self.contrast, self.saturation, self.hue)[which]
            amount = (draws.uniform(count, -strength, strength) * chosen)[:, None, None, None]
            if strength == 0 or (which > 1 and not colour):
                continue
            if which == 3:
                values = turn_hue(values, amount)
                continue
            changed = values * (1 + amount)
            if which == 1:
                changed -= grey(values).mean((1, 2, 3), keepdim=True) * amount
            elif which == 2:
                changed -= grey(values) * amount
            values = changed.clamp_(0, 1)
        return values


class Grey(Operation):
    """A colour image made grey, with three equal channels.

    Attributes:
        p: Probability.
    """

    channels: ClassVar[tuple[int, ...] | None] = (3,)

    p: Probability = 0.2

    def apply(self, values: Tensor, draws: Draws) -> Tensor:
        """The images, some of them grey."""
        chosen = draws.chosen(len(values), self.p)[:, None, None, None]
        return torch.where(chosen, grey(values), values)


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


def grey(images: Tensor) -> Tensor:
    """Luminance .299 R + .587 G + .114 B, shape (n, 1, H, W); other than three channels: mean."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    weights = images.new_tensor([0.299, 0.587, 0.114])[:, None, None]
    return (images * weights).sum(1, keepdim=True)


def turn_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn each pixel's hue, keeping saturation and value of the HSV cone.

    With V the largest channel, C = V - the smallest, and H in [0, 6) the hue,
        channel = V - C max(0, min(k, 4 - k, 1)),  k = (n + H) mod 6,  n = 5, 3, 1 for R, G, B.

    Args:
        images: (n, 3, H, W) in [0, 1].
        turn: Part of a full circle, of a shape that fits (n, 1, H, W).

    Returns:
        (n, 3, H, W) in [0, 1].
    """
    red, green, blue = images.unbind(1)
    value, low = images.amax(1), images.amin(1)
    chroma = value - low
    divisor = torch.where(chroma == 0, 1.0, chroma)
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    n = images.new_tensor([5.0, 3.0, 1.0])[:, None, None]
    k = torch.remainder(hue[:, None] + turn * 6 + n, 6)
    part = torch.minimum(k, 4 - k).clamp_(0, 1)
    return value[:, None] - chroma[:, None] * part
