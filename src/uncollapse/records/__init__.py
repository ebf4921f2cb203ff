"""Records that cross rooms, each of which goes to JSON and back."""

from uncollapse.records._english import SENTENCES
from uncollapse.records._probe_text import (
    show_probe,
)
from uncollapse.records.batch import (
    BalancedBatch,
    Batch,
    FullBatch,
    RandomBatch,
)
from uncollapse.records.codec import (
    Document,
    Part,
    read_json,
    to_json_types,
)
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
from uncollapse.records.data_description import DataDescription, InputKind
from uncollapse.records.estimate import (
    UNKNOWN,
    Estimate,
    number,
)
from uncollapse.records.margins import (
    Margins,
)
from uncollapse.records.measurement import (
    Measurement,
)
from uncollapse.records.measurement_parts import (
    ClassMeasurement,
    Conditions,
    Ssem,
    SsemFit,
    Variances,
)
from uncollapse.records.message import Message, Value, sentence
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
    TrialFile,
    TrialRun,
    TrialStatus,
)
from uncollapse.records.prediction import (
    BlockCosines,
    Phase,
    PopulationVariances,
    Prediction,
    worst_phase,
)
from uncollapse.records.probe_options import (
    NeighbourIndex,
    ProbeOptions,
    ProbeSettings,
    WithinClassOptions,
)
from uncollapse.records.probe_result import (
    ChosenValues,
    ClassReading,
    ProbeConditions,
    ProbedData,
    ProbeResult,
    Reading,
    ReadingDetails,
    SplitSizes,
    TargetProbe,
)
from uncollapse.records.reason import REASONS, Reason
from uncollapse.records.run import (
    EpochLine,
    RunRecord,
    RunStatus,
)
from uncollapse.records.score import (
    Interval,
    Score,
)
from uncollapse.records.secondary import (
    CAVEATS,
    Alignment,
    ClassDistance,
    ClassSpectrum,
    DirectionalDistance,
    NC1Null,
    NeuralCollapse,
    RankMe,
    SecondaryMeasures,
    SimplexDeviation,
    SingleMeasure,
)
from uncollapse.records.setting import (
    Setting,
)
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
from uncollapse.records.simulation_options import (
    Optimiser,
    SimulationOptions,
)
from uncollapse.records.slices import (
    Gap,
    SliceColumn,
    SliceGaps,
    SliceMeasurement,
    SliceProbe,
)
from uncollapse.records.verdict import (
    WORST_FIRST,
    ProbeVerdict,
    Verdict,
    severity,
)
from uncollapse.records.within_class_probe import (
    PermutationNull,
    ProbedClassScore,
    WithinClassProbe,
)

__all__ = [
    "CAVEATS",
    "REASONS",
    "SENTENCES",
    "UNKNOWN",
    "WORST_FIRST",
    "Alignment",
    "AnchorsWithoutPositives",
    "BalancedBatch",
    "Batch",
    "BlockCosines",
    "ChosenValues",
    "ClassDistance",
    "ClassMeasurement",
    "ClassReading",
    "ClassSpectrum",
    "Comparison",
    "Conditions",
    "Confirmation",
    "Conventions",
    "DataDescription",
    "DirectionalDistance",
    "Document",
    "EpochLine",
    "Estimate",
    "FullBatch",
    "Gap",
    "InputKind",
    "Interval",
    "IntervalMethod",
    "LayerScores",
    "Margins",
    "Measurement",
    "Message",
    "NC1Null",
    "NeighbourIndex",
    "NeuralCollapse",
    "NumberChange",
    "Objective",
    "OneClass",
    "Optimiser",
    "Part",
    "PermutationNull",
    "Phase",
    "PilotConditions",
    "PilotPlan",
    "PilotReason",
    "PilotResult",
    "PilotRows",
    "PilotVerdict",
    "PointSummary",
    "PopulationVariances",
    "PredictedVariance",
    "Prediction",
    "ProbeConditions",
    "ProbeOptions",
    "ProbeResult",
    "ProbeSettings",
    "ProbeVerdict",
    "ProbedClassScore",
    "ProbedData",
    "RandomBatch",
    "RankMe",
    "Reached",
    "Reading",
    "ReadingDetails",
    "Reason",
    "Recommendation",
    "Reduction",
    "RunRecord",
    "RunStatus",
    "Score",
    "SecondaryMeasures",
    "SelfPairs",
    "Setting",
    "SettingChange",
    "SimplexDeviation",
    "SimulationOptions",
    "SimulationRecord",
    "SimulationRun",
    "SingleMeasure",
    "SliceColumn",
    "SliceGaps",
    "SliceMeasurement",
    "SliceProbe",
    "SplitSizes",
    "Spread",
    "Ssem",
    "SsemFit",
    "Stopped",
    "TargetProbe",
    "Trial",
    "TrialFile",
    "TrialRun",
    "TrialStatus",
    "Value",
    "Variances",
    "Verdict",
    "WithinClassOptions",
    "WithinClassProbe",
    "changed_config",
    "changed_setting",
    "number",
    "read_json",
    "sentence",
    "severity",
    "show_probe",
    "to_json_types",
    "worst_phase",
]
