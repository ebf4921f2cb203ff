from ._thumbnails import (
    thumbnail,
)
from .augmentations import (
    Draws,
    KorniaOperation,
    Mask,
    Noise,
)
from .config import (
    DataConfig,
    ImageOptions,
    LimitConfig,
    SplitConfig,
    Strict,
    data_config,
)
from .dataset import (
    LabelledData,
    Scales,
    training_scales,
)
from .image_augmentations import (
    Blur,
    Crop,
    Flip,
    Grey,
    Jitter,
    Rotate,
    Shift,
)
from .labels import (
    built_in_maps,
)
from .load import (
    load_data,
)
from .loader import (
    LoadedBatch,
    Loader,
)
from .permutation_stream import (
    PermutationStream,
)
from .samplers import (
    BatchConfig,
    Coverage,
    Sampler,
    make_sampler,
)
from .splits import (
    limited_rows,
    make_split,
)
from .views import (
    Augmenter,
    Normalisation,
    ViewsConfig,
    preset,
)

__all__ = [
    "Augmenter",
    "BatchConfig",
    "Blur",
    "Coverage",
    "Crop",
    "DataConfig",
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
    "Strict",
    "ViewsConfig",
    "built_in_maps",
    "data_config",
    "limited_rows",
    "load_data",
    "make_sampler",
    "make_split",
    "preset",
    "thumbnail",
    "training_scales",
]
