"""Sources, splits, samplers and views."""

from uncollapse.extras import door

__getattr__, __dir__, __all__ = door(__name__, __file__, "train")
