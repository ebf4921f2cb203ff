from ._measure_model import (
    CollapseWarning,
    as_numbers,
    measure_model,
    warn_of,
)
from .metric import (
    CollapseMetric,
)

__all__ = [
    "CollapseMetric",
    "CollapseWarning",
    "as_numbers",
    "measure_model",
    "warn_of",
]
