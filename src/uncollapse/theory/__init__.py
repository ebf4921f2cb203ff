"""What the loss will do, before training: phases, thresholds, variances (numpy and scipy only)."""

from uncollapse.records import BalancedBatch, FullBatch, Prediction, RandomBatch, Setting
from uncollapse.theory._keep import with_keep
from uncollapse.theory.advice import LEVERS, Advice, Lever, advise
from uncollapse.theory.balanced import (
    BalancedOptimum,
    alpha_threshold,
    balanced_optimum,
    temperature_threshold,
    view_splitting_threshold,
)
from uncollapse.theory.decode import decode_loss
from uncollapse.theory.geometry import Embeddings, gram, realise, ssem
from uncollapse.theory.prediction import predict

__all__ = [
    "LEVERS",
    "Advice",
    "BalancedBatch",
    "BalancedOptimum",
    "Embeddings",
    "FullBatch",
    "Lever",
    "Prediction",
    "RandomBatch",
    "Setting",
    "advise",
    "alpha_threshold",
    "balanced_optimum",
    "decode_loss",
    "gram",
    "predict",
    "realise",
    "ssem",
    "temperature_threshold",
    "view_splitting_threshold",
    "with_keep",
]
