"""A temperature that is trained with the encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import check_number


class LearnableTemperature(nn.Module):
    """tau = exp(-s) with the parameter s = log(1 / tau), held within bounds.

    A step in s changes tau by a factor, however small tau is. Before every use s is put back within
    the bounds, so that its gradient leads inside again.

    Args:
        start: tau before training.
        bounds: The least and the largest tau. Radford et al. (CLIP) have .01 as the least.

    Attributes:
        log_inverse: s, a parameter of shape (); give it no weight decay, which draws tau to 1.

    Raises:
        InputError: Bounds out of order or of [1e-6, 1e6], or a start outside of them.

    Examples:
        >>> import torch
        >>> from uncollapse.losses import SupCLLoss
        >>> criterion = SupCLLoss(alpha=0.2, temperature=LearnableTemperature(0.1))
        >>> views, labels = torch.randn(8, 2, 4), torch.arange(8) % 2
        >>> criterion(views, labels).backward()
        >>> criterion.temperature.log_inverse.grad is None, round(criterion.last.temperature, 6)
        (False, 0.1)

    References:
        Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
        ICML 2021 (arXiv 2103.00020), section 2.3.
    """

    def __init__(self, start: float = 0.1, bounds: tuple[float, float] = (0.01, 1.0)) -> None:
        super().__init__()
        self.bounds = checked_bounds(start, bounds)
        self.log_inverse = nn.Parameter(torch.tensor(-math.log(start)))

    def forward(self) -> Tensor:
        """tau, within the bounds."""
        low, high = self.bounds
        with torch.no_grad():
            self.log_inverse.clamp_(-math.log(high), -math.log(low))
        return self.log_inverse.neg().exp()

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"bounds={self.bounds}"


def checked_bounds(start: float, bounds: tuple[float, float]) -> tuple[float, float]:
    """The bounds of a temperature, if they are in order and it starts within them."""
    low, high = (check_number("a bound of temperature", bound, 1e-6, 1e6) for bound in bounds)
    if not low <= start <= high:
        raise InputError(
            f"a temperature from {low:g} to {high:g}, its bounds",
            f"{start:g}",
            "start within the bounds, or give others",
        )
    return low, high
