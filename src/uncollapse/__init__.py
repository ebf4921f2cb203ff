"""Predict, measure and prevent class collapse in supervised contrastive learning.

The public names of every room are importable from here; each is loaded when it is first used, so
that ``import uncollapse`` is fast and needs no optional package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from uncollapse.data import data_config, load_data
    from uncollapse.errors import InputError
    from uncollapse.losses import (
        SupCLLoss,
        SupCLTerms,
        backward_in_chunks,
        class_conditional_info_nce_loss,
        l_spread_loss,
        nt_xent_loss,
        sincere_loss,
        ssem_cifar_loss,
        ssem_imagenet_loss,
        supcl_loss,
        supcl_terms,
        supcon_loss,
    )
    from uncollapse.metrics import (
        Accumulator,
        CollapseMetric,
        CollapseWarning,
        Margins,
        Measurement,
        ProbeOptions,
        compare,
        measure,
        measure_files,
        measure_model,
    )
    from uncollapse.pilot import PilotOptions, PilotResult
    from uncollapse.probes import Embedded, ProbeResult, probe
    from uncollapse.records import BalancedBatch, FullBatch, Prediction, RandomBatch
    from uncollapse.report import Report, ReportOptions, build_report
    from uncollapse.theory import Setting, advise, predict, ssem
    from uncollapse.training import build_problem, embed, load_config, train

_HOME = {
    "Accumulator": "uncollapse.metrics",
    "BalancedBatch": "uncollapse.records",
    "CollapseMetric": "uncollapse.metrics",
    "CollapseWarning": "uncollapse.metrics",
    "Embedded": "uncollapse.probes",
    "FullBatch": "uncollapse.records",
    "InputError": "uncollapse.errors",
    "Margins": "uncollapse.metrics",
    "Measurement": "uncollapse.metrics",
    "PilotOptions": "uncollapse.pilot",
    "PilotResult": "uncollapse.pilot",
    "Prediction": "uncollapse.records",
    "ProbeOptions": "uncollapse.metrics",
    "ProbeResult": "uncollapse.probes",
    "RandomBatch": "uncollapse.records",
    "Report": "uncollapse.report",
    "ReportOptions": "uncollapse.report",
    "Setting": "uncollapse.theory",
    "SupCLLoss": "uncollapse.losses",
    "SupCLTerms": "uncollapse.losses",
    "advise": "uncollapse.theory",
    "backward_in_chunks": "uncollapse.losses",
    "build_problem": "uncollapse.training",
    "build_report": "uncollapse.report",
    "class_conditional_info_nce_loss": "uncollapse.losses",
    "compare": "uncollapse.metrics",
    "data_config": "uncollapse.data",
    "embed": "uncollapse.training",
    "l_spread_loss": "uncollapse.losses",
    "load_config": "uncollapse.training",
    "load_data": "uncollapse.data",
    "measure": "uncollapse.metrics",
    "measure_files": "uncollapse.metrics",
    "measure_model": "uncollapse.metrics",
    "nt_xent_loss": "uncollapse.losses",
    "predict": "uncollapse.theory",
    "probe": "uncollapse.probes",
    "sincere_loss": "uncollapse.losses",
    "ssem": "uncollapse.theory",
    "ssem_cifar_loss": "uncollapse.losses",
    "ssem_imagenet_loss": "uncollapse.losses",
    "supcl_loss": "uncollapse.losses",
    "supcl_terms": "uncollapse.losses",
    "supcon_loss": "uncollapse.losses",
    "train": "uncollapse.training",
}

__all__ = [
    "Accumulator",
    "BalancedBatch",
    "CollapseMetric",
    "CollapseWarning",
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
    "Report",
    "ReportOptions",
    "Setting",
    "SupCLLoss",
    "SupCLTerms",
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
    "predict",
    "probe",
    "sincere_loss",
    "ssem",
    "ssem_cifar_loss",
    "ssem_imagenet_loss",
    "supcl_loss",
    "supcl_terms",
    "supcon_loss",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'uncollapse' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
