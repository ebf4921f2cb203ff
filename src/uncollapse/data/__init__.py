"""Sources, splits, samplers and views."""

from uncollapse.data.augmentation_presets import preset
from uncollapse.data.augmentations import Draws, KorniaOperation, Mask, Noise
from uncollapse.data.config import DataConfig, ImageOptions, LimitConfig, SplitConfig, data_config
from uncollapse.data.coverage import Coverage
from uncollapse.data.dataset import SPLITS, LabelledData
from uncollapse.data.image_augmentations import Blur, Crop, Flip, Grey, Jitter, Rotate, Shift
from uncollapse.data.labels import built_in_maps
from uncollapse.data.load import load_data
from uncollapse.data.loader import LoadedBatch, Loader
from uncollapse.data.permutation_stream import PermutationStream
from uncollapse.data.samplers import BatchConfig, Sampler, make_sampler
from uncollapse.data.scales import Scales, training_scales
from uncollapse.data.splits import limited_rows, make_split, part_names
from uncollapse.data.views import Augmenter, Normalisation, ViewsConfig
from uncollapse.records import DataDescription

__all__ = [
    "SPLITS",
    "Augmenter",
    "BatchConfig",
    "Blur",
    "Coverage",
    "Crop",
    "DataConfig",
    "DataDescription",
    "Draws",
    "Flip",
    "Grey",
    "ImageOptions",
    "Jitter",
    "KorniaOperation",
    "LabelledData",
    "LimitConfig",
    "LoadedBatch",
    "Loader",
    "Mask",
    "Noise",
    "Normalisation",
    "PermutationStream",
    "Rotate",
    "Sampler",
    "Scales",
    "Shift",
    "SplitConfig",
    "ViewsConfig",
    "built_in_maps",
    "data_config",
    "limited_rows",
    "load_data",
    "make_sampler",
    "make_split",
    "part_names",
    "preset",
    "training_scales",
]
