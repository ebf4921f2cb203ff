"""Collapse watched while a model trains (torch)."""

from uncollapse.monitor.measure_model import (
    CollapseWarning,
    as_numbers,
    measure_model,
    warn_of,
)
from uncollapse.monitor.metric import (
    CollapseMetric,
)

__all__ = [
    "CollapseMetric",
    "CollapseWarning",
    "as_numbers",
    "measure_model",
    "warn_of",
]
