"""What the loss will do, before training: phases, thresholds, variances (numpy and scipy only)."""

from uncollapse.records import (
    BalancedBatch,
    Calibration,
    FullBatch,
    NetworkPrediction,
    NetworkRun,
    Prediction,
    RandomBatch,
    Setting,
)
from uncollapse.theory._keep import with_keep
from uncollapse.theory._levers import LEVERS, Advice, Lever
from uncollapse.theory.advice import advise
from uncollapse.theory.balanced import (
    BalancedOptimum,
    alpha_threshold,
    balanced_optimum,
    temperature_threshold,
    view_splitting_threshold,
)
from uncollapse.theory.calibration import (
    calibrate,
    candidates,
    expected_variances,
    following,
    forecast,
)
from uncollapse.theory.decode import decode_loss
from uncollapse.theory.geometry import Embeddings, gram, realise, ssem
from uncollapse.theory.prediction import predict

__all__ = [
    "LEVERS",
    "Advice",
    "BalancedBatch",
    "BalancedOptimum",
    "Calibration",
    "Embeddings",
    "FullBatch",
    "Lever",
    "NetworkPrediction",
    "NetworkRun",
    "Prediction",
    "RandomBatch",
    "Setting",
    "advise",
    "alpha_threshold",
    "balanced_optimum",
    "calibrate",
    "candidates",
    "decode_loss",
    "expected_variances",
    "following",
    "forecast",
    "gram",
    "predict",
    "realise",
    "ssem",
    "temperature_threshold",
    "view_splitting_threshold",
    "with_keep",
]
