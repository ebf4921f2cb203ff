"""What the callbacks of every trainer do at the end of a validation."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from torch import nn

from uncollapse.errors import InputError
from uncollapse.monitor.measure_model import (
    CollapseWarning,
    Embed,
    as_numbers,
    measure_model,
    warn_of,
)
from uncollapse.records import Measurement

__all__ = ["Watch"]


class Watch:
    """Measures a model now and then, remembers what it found and warns when collapse begins.

    Args:
        embed: As in `measure_model`.
        given: Further arguments of `measure_model`.

    Attributes:
        measurements: (step, record) of every measurement so far.
    """

    def __init__(self, embed: Embed, **given: Any) -> None:
        self.embed = embed
        self.given = given
        self.measurements: list[tuple[int, Measurement]] = []

    def measure(
        self, model: nn.Module, batches: Iterable[Any], step: int, *, sharded: bool, tell: bool
    ) -> dict[str, float]:
        """Measure, remember, and warn if the model is collapsed and was not before.

        What cannot be measured (one class only, say) is warned of and does not stop the training.

        Args:
            model: The model.
            batches: As in `measure_model`, like `sharded`.
            step: Of the training.
            sharded: Whether the batches are this process's share.
            tell: Whether this process warns.

        Returns:
            The numbers to log; none where it could not be measured.
        """
        before = self.measurements[-1][1].verdict if self.measurements else None
        try:
            found = measure_model(model, batches, self.embed, sharded=sharded, **self.given)
        except InputError as error:
            if tell:
                warnings.warn(
                    f"step {step}: collapse not measured: {error}", CollapseWarning, stacklevel=3
                )
            return {}
        self.measurements.append((step, found))
        if tell and before != "collapsed":
            warn_of(found, f"step {step}", stacklevel=3)
        return as_numbers(found)
