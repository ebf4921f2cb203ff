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
from uncollapse.records.conventions import (
    AnchorsWithoutPositives,
    Conventions,
    OneClass,
    Reduction,
    SelfPairs,
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
    Confirmation,
    IntervalMethod,
    LayerScores,
    Objective,
    PilotConditions,
    PilotPlan,
    PilotReason,
    PilotResult,
    PilotRows,
    PilotVerdict,
    PredictedVariance,
    Recommendation,
    Trial,
    TrialResult,
    TrialRun,
    TrialStatus,
)
from uncollapse.records.prediction import (
    BlockCosines,
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
from uncollapse.records.run import EpochLine, RunRecord, RunStatus
from uncollapse.records.score import (
    Interval,
    Score,
)
from uncollapse.records.setting import Setting
from uncollapse.records.setting_change import (
    SettingChange,
    changed_config,
    changed_setting,
)
from uncollapse.records.simulation import (
    PointSummary,
    Reached,
    SimulationRecord,
    SimulationRun,
    Spread,
    Stopped,
)
from uncollapse.records.simulation_options import Optimiser, SimulationOptions

__all__ = [
    "AnchorsWithoutPositives",
    "BalancedBatch",
    "Batch",
    "BlockCosines",
    "ClassMeasurement",
    "Comparison",
    "Confirmation",
    "Conventions",
    "Document",
    "EpochLine",
    "Estimate",
    "FullBatch",
    "Interval",
    "IntervalMethod",
    "LayerScores",
    "Measurement",
    "NumberChange",
    "Objective",
    "OneClass",
    "Optimiser",
    "Part",
    "Phase",
    "PilotConditions",
    "PilotPlan",
    "PilotReason",
    "PilotResult",
    "PilotRows",
    "PilotVerdict",
    "PointSummary",
    "PredictedVariance",
    "Prediction",
    "ProbeResult",
    "RandomBatch",
    "Reached",
    "Reading",
    "Reason",
    "Recommendation",
    "Reduction",
    "RunRecord",
    "RunStatus",
    "Score",
    "SelfPairs",
    "Setting",
    "SettingChange",
    "SimulationOptions",
    "SimulationRecord",
    "SimulationRun",
    "Spread",
    "Stopped",
    "TargetProbe",
    "Trial",
    "TrialResult",
    "TrialRun",
    "TrialStatus",
    "Verdict",
    "changed_config",
    "changed_setting",
    "number",
    "read_json",
    "show",
    "show_probe",
    "to_json_types",
]
