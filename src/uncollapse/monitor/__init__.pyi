from ._measure_model import (
    measure_model,
)
from ._numbers import (
    CollapseWarning,
    as_numbers,
    warn_of,
)
from ._stuck import (
    StuckLoss,
)
from .metric import (
    CollapseMetric,
)

__all__ = [
    "CollapseMetric",
    "CollapseWarning",
    "StuckLoss",
    "as_numbers",
    "measure_model",
    "warn_of",
]
