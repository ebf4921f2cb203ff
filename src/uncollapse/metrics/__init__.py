"""Whether embeddings are collapsed: measures, intervals, verdicts."""

from uncollapse.metrics._compare import compare
from uncollapse.metrics._entry import measure
from uncollapse.metrics._linked import linked_units
from uncollapse.metrics._measure import build_record
from uncollapse.metrics._partial import measure_states, partition_state
from uncollapse.metrics._reference import Reference, retention
from uncollapse.metrics._retention import PERMUTATIONS
from uncollapse.metrics.classes import Classes, features_by_class, with_views_that_differ
from uncollapse.metrics.features import EXTRA
from uncollapse.metrics.from_files import measure_files
from uncollapse.metrics.linear_map import LinearMap, fit_linear_map
from uncollapse.metrics.moments import ClassMoments
from uncollapse.metrics.persist import check_place, load_state, save_state
from uncollapse.metrics.row_table import RowTable, row_table
from uncollapse.metrics.selection import scores
from uncollapse.metrics.stream import Accumulator
from uncollapse.metrics.streamed_files import accumulate_files
from uncollapse.metrics.variance import decompose
from uncollapse.probes import ProbeOptions, WithinClassOptions
from uncollapse.records import ClassMeasurement, Comparison, Estimate, Margins, Measurement, Reason
from uncollapse.tables import Columns

__all__ = [
    "EXTRA",
    "PERMUTATIONS",
    "Accumulator",
    "ClassMeasurement",
    "ClassMoments",
    "Classes",
    "Columns",
    "Comparison",
    "Estimate",
    "LinearMap",
    "Margins",
    "Measurement",
    "ProbeOptions",
    "Reason",
    "Reference",
    "RowTable",
    "WithinClassOptions",
    "accumulate_files",
    "build_record",
    "check_place",
    "compare",
    "decompose",
    "features_by_class",
    "fit_linear_map",
    "linked_units",
    "load_state",
    "measure",
    "measure_files",
    "measure_states",
    "partition_state",
    "retention",
    "row_table",
    "save_state",
    "scores",
    "with_views_that_differ",
]
