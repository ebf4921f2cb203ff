"""Sources, splits, samplers and views."""

from uncollapse.data.config import DataConfig, ImageOptions, LimitConfig, SplitConfig, data_config
from uncollapse.data.labelled import Inputs, LabelledData
from uncollapse.data.load import load_data

__all__ = [
    "DataConfig",
    "ImageOptions",
    "Inputs",
    "LabelledData",
    "LimitConfig",
    "SplitConfig",
    "data_config",
    "load_data",
]
