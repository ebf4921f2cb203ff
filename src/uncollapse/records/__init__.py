"""Records that cross rooms, each of which goes to JSON and back."""

from uncollapse.records.batch import (
    BalancedBatch,
    Batch,
    FullBatch,
    RandomBatch,
)
from uncollapse.records.codec import Document, Part, read_json, to_json_types
from uncollapse.records.comparison import (
    Comparison,
    NumberChange,
)
from uncollapse.records.estimate import (
    Estimate,
    number,
)
from uncollapse.records.measurement import (
    ClassMeasurement,
    Measurement,
)
from uncollapse.records.measurement_text import (
    show,
)
from uncollapse.records.pilot_result import (
    Candidate,
    PilotResult,
    SettingChange,
    Trial,
)
from uncollapse.records.prediction import (
    Phase,
    Prediction,
)
from uncollapse.records.probe_result import (
    ProbeResult,
    Reading,
    TargetProbe,
)
from uncollapse.records.probe_text import (
    show_probe,
)
from uncollapse.records.reason import (
    Reason,
    Verdict,
)
from uncollapse.records.score import (
    Interval,
    Score,
)
from uncollapse.records.setting import (
    AnchorsWithoutPositives,
    Reduction,
    SelfPairs,
    Setting,
)

__all__ = [
    "AnchorsWithoutPositives",
    "BalancedBatch",
    "Batch",
    "Candidate",
    "ClassMeasurement",
    "Comparison",
    "Document",
    "Estimate",
    "FullBatch",
    "Interval",
    "Measurement",
    "NumberChange",
    "Part",
    "Phase",
    "PilotResult",
    "Prediction",
    "ProbeResult",
    "RandomBatch",
    "Reading",
    "Reason",
    "Reduction",
    "Score",
    "SelfPairs",
    "Setting",
    "SettingChange",
    "TargetProbe",
    "Trial",
    "Verdict",
    "number",
    "read_json",
    "show",
    "show_probe",
    "to_json_types",
]
