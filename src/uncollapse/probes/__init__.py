"""What a frozen embedding still knows: linear, neighbours, few shots, inside classes."""

from uncollapse.probes.dataset import Embedded
from uncollapse.probes.files import ProbeColumns, embedded_files
from uncollapse.probes.probing import probe
from uncollapse.probes.record import ProbeResult, Reading, TargetProbe
from uncollapse.probes.selection import scores
from uncollapse.probes.settings import ProbeSettings

__all__ = [
    "Embedded",
    "ProbeColumns",
    "ProbeResult",
    "ProbeSettings",
    "Reading",
    "TargetProbe",
    "embedded_files",
    "probe",
    "scores",
]
