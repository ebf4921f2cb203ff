"""What a frozen embedding still knows: linear, neighbours, few shots, inside classes."""

from uncollapse.probes.accuracy import (
    balanced_accuracy,
)
from uncollapse.probes.classify import (
    exact_neighbours,
    knn_votes,
)
from uncollapse.probes.dataset import (
    Embedded,
)
from uncollapse.probes.files import (
    ProbeColumns,
    embedded_files,
)
from uncollapse.probes.probed_classes import (
    ProbeOptions,
    probed_classes,
)
from uncollapse.probes.probing import (
    probe,
)
from uncollapse.probes.settings import (
    ProbeSettings,
)
from uncollapse.probes.within_class import (
    cross_predict,
    probe_within_classes,
)
from uncollapse.records import ProbeResult, Reading, TargetProbe

__all__ = [
    "Embedded",
    "ProbeColumns",
    "ProbeOptions",
    "ProbeResult",
    "ProbeSettings",
    "Reading",
    "TargetProbe",
    "balanced_accuracy",
    "cross_predict",
    "embedded_files",
    "exact_neighbours",
    "knn_votes",
    "probe",
    "probe_within_classes",
    "probed_classes",
]
