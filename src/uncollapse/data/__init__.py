"""Sources, splits, samplers and views."""

from uncollapse.data.config import DataConfig, ImageOptions, LimitConfig, SplitConfig, data_config
from uncollapse.data.coverage import Coverage
from uncollapse.data.labelled import SPLITS, Inputs, LabelledData
from uncollapse.data.load import load_data
from uncollapse.data.loader import LoadedBatch, Loader
from uncollapse.data.samplers import BatchConfig, Sampler, make_sampler
from uncollapse.data.scales import Scales, training_scales
from uncollapse.data.views import Augmenter, Normalisation, ViewsConfig

__all__ = [
    "SPLITS",
    "Augmenter",
    "BatchConfig",
    "Coverage",
    "DataConfig",
    "ImageOptions",
    "Inputs",
    "LabelledData",
    "LimitConfig",
    "LoadedBatch",
    "Loader",
    "Normalisation",
    "Sampler",
    "Scales",
    "SplitConfig",
    "ViewsConfig",
    "data_config",
    "load_data",
    "make_sampler",
    "training_scales",
]
