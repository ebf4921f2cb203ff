from .data import data_config, load_data
from .errors import InputError
from .losses import (
    SupCLLoss,
    SupCLTerms,
    backward_in_chunks,
    class_conditional_info_nce_loss,
    l_spread_loss,
    nt_xent_loss,
    reference_supcl,
    sincere_loss,
    ssem_cifar_loss,
    ssem_imagenet_loss,
    supcl_loss,
    supcl_terms,
    supcon_loss,
)
from .metrics import Accumulator, Margins, Reference, compare, measure, measure_files, retention
from .monitor import CollapseMetric, CollapseWarning, measure_model
from .pilot import PilotOptions, pilot
from .probes import Embedded, ProbeOptions, WithinClassOptions, probe
from .records import (
    BalancedBatch,
    Comparison,
    FullBatch,
    Measurement,
    PilotResult,
    Prediction,
    ProbeResult,
    RandomBatch,
    Setting,
)
from .report import Report, ReportOptions, build_report
from .simulation import SimulationOptions, simulate
from .tables import Columns, ReferenceFiles
from .theory import advise, predict, ssem
from .training import build_problem, embed, load_config, train

__all__ = [
    "Accumulator",
    "BalancedBatch",
    "CollapseMetric",
    "CollapseWarning",
    "Columns",
    "Comparison",
    "Embedded",
    "FullBatch",
    "InputError",
    "Margins",
    "Measurement",
    "PilotOptions",
    "PilotResult",
    "Prediction",
    "ProbeOptions",
    "ProbeResult",
    "RandomBatch",
    "Reference",
    "ReferenceFiles",
    "Report",
    "ReportOptions",
    "Setting",
    "SimulationOptions",
    "SupCLLoss",
    "SupCLTerms",
    "WithinClassOptions",
    "__version__",
    "advise",
    "backward_in_chunks",
    "build_problem",
    "build_report",
    "class_conditional_info_nce_loss",
    "compare",
    "data_config",
    "embed",
    "l_spread_loss",
    "load_config",
    "load_data",
    "measure",
    "measure_files",
    "measure_model",
    "nt_xent_loss",
    "pilot",
    "predict",
    "probe",
    "reference_supcl",
    "retention",
    "simulate",
    "sincere_loss",
    "ssem",
    "ssem_cifar_loss",
    "ssem_imagenet_loss",
    "supcl_loss",
    "supcl_terms",
    "supcon_loss",
    "train",
]

__version__: str
