"""Whether embeddings are collapsed: measures, intervals, verdicts."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from uncollapse.metrics.accumulate import Accumulator
from uncollapse.metrics.compare import Comparison, compare
from uncollapse.metrics.estimate import Estimate
from uncollapse.metrics.files import Columns, accumulate_files, measure_files
from uncollapse.metrics.margins import Margins
from uncollapse.metrics.measure import measure
from uncollapse.metrics.persist import load_state, save_state
from uncollapse.metrics.probed import ProbeOptions
from uncollapse.metrics.record import ClassMeasurement, Measurement
from uncollapse.metrics.verdict import Reason

if TYPE_CHECKING:
    from uncollapse.metrics.monitor import CollapseWarning, measure_model
    from uncollapse.metrics.torch_metric import CollapseMetric

__all__ = [
    "Accumulator",
    "ClassMeasurement",
    "CollapseMetric",
    "CollapseWarning",
    "Columns",
    "Comparison",
    "Estimate",
    "Margins",
    "Measurement",
    "ProbeOptions",
    "Reason",
    "accumulate_files",
    "compare",
    "load_state",
    "measure",
    "measure_files",
    "measure_model",
    "save_state",
]


# Only when they are asked for, because they need torch, which nothing else does.
_LAZY = {
    "CollapseMetric": "torch_metric",
    "CollapseWarning": "monitor",
    "measure_model": "monitor",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"uncollapse.metrics.{_LAZY[name]}"), name)
