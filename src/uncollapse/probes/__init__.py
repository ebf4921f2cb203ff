"""What a frozen embedding still knows: linear, neighbours, few shots, inside classes."""

from uncollapse.probes._dataset import Embedded
from uncollapse.probes._paired import paired_few_shot
from uncollapse.probes._probe import probe
from uncollapse.probes._residuals import probed_classes
from uncollapse.probes._task import chance_corrected, score_within
from uncollapse.probes.files import ProbeColumns, embedded_files
from uncollapse.probes.knn import exact_neighbours, knn_votes
from uncollapse.probes.linear import fit_logistic
from uncollapse.probes.within_class import cross_predict, probe_within_classes
from uncollapse.records import (
    ProbeOptions,
    ProbeReading,
    ProbeResult,
    ProbeSettings,
    TargetProbe,
    WithinClassOptions,
)

__all__ = [
    "Embedded",
    "ProbeColumns",
    "ProbeOptions",
    "ProbeReading",
    "ProbeResult",
    "ProbeSettings",
    "TargetProbe",
    "WithinClassOptions",
    "chance_corrected",
    "cross_predict",
    "embedded_files",
    "exact_neighbours",
    "fit_logistic",
    "knn_votes",
    "paired_few_shot",
    "probe",
    "probe_within_classes",
    "probed_classes",
    "score_within",
]
