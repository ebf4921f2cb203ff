from ._english import (
    SENTENCES,
)
from ._probe_text import (
    show_probe,
)
from .batch import (
    BalancedBatch,
    Batch,
    FullBatch,
    RandomBatch,
)
from .codec import (
    Document,
    Part,
    read_json,
    to_json_types,
)
from .comparison import (
    Comparison,
    NumberChange,
)
from .conventions import (
    AnchorsWithoutPositives,
    Conventions,
    OneClass,
    Reduction,
    SelfPairs,
)
from .data_description import (
    DataDescription,
    InputKind,
)
from .estimate import (
    UNKNOWN,
    Estimate,
    number,
)
from .margins import (
    Margins,
)
from .measurement import (
    Measurement,
)
from .measurement_parts import (
    ClassMeasurement,
    Conditions,
    Ssem,
    SsemFit,
    Variances,
)
from .message import (
    Message,
    Value,
    sentence,
)
from .pilot_result import (
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
from .prediction import (
    BlockCosines,
    Phase,
    PopulationVariances,
    Prediction,
    worst_phase,
)
from .probe_options import (
    NeighbourIndex,
    ProbeOptions,
    ProbeSettings,
    WithinClassOptions,
)
from .probe_result import (
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
from .reason import (
    REASONS,
    Reason,
)
from .run import (
    EpochLine,
    RunRecord,
    RunStatus,
)
from .score import (
    Interval,
    Score,
)
from .secondary import (
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
from .setting import (
    Setting,
)
from .setting_change import (
    SettingChange,
    changed_config,
    changed_setting,
)
from .simulation import (
    PointSummary,
    Reached,
    SimulationRecord,
    SimulationRun,
    Spread,
    Stopped,
)
from .simulation_options import (
    Optimiser,
    SimulationOptions,
)
from .slices import (
    Gap,
    SliceColumn,
    SliceGaps,
    SliceMeasurement,
    SliceProbe,
)
from .verdict import (
    WORST_FIRST,
    ProbeVerdict,
    Verdict,
    severity,
)
from .within_class_probe import (
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
