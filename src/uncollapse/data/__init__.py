"""Sources, splits, samplers and views."""

from uncollapse.data.coverage import Coverage
from uncollapse.data.loader import LoadedBatch, Loader
from uncollapse.data.samplers import BatchConfig, Sampler, make_sampler
from uncollapse.data.scales import Scales, training_scales
from uncollapse.data.views import Augmenter, Normalisation, ViewsConfig

__all__ = [
    "Augmenter",
    "BatchConfig",
    "Coverage",
    "LoadedBatch",
    "Loader",
    "Normalisation",
    "Sampler",
    "Scales",
    "ViewsConfig",
    "make_sampler",
    "training_scales",
]
