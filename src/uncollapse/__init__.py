"""Predict, measure and prevent class collapse in supervised contrastive learning.

The public names of every room are importable from here (`__init__.pyi` lists them); each is loaded
when it is first used, so that ``import uncollapse`` is fast and needs no optional package.
"""

import lazy_loader

from uncollapse.extras import hinted

__version__ = "0.1.0"

_load, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
# The others' rooms say it themselves.
__getattr__ = hinted(_load, __name__, {"pilot": "pilot", "simulate": "train"})
__all__ = [*_names, "__version__"]
