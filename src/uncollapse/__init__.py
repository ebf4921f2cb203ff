"""Predict, measure and prevent class collapse in supervised contrastive learning.

The public names of every room are importable from here (`__init__.pyi` lists them); each is loaded
when it is first used, so that ``import uncollapse`` is fast and needs no optional package.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = [*_names, "__version__"]
