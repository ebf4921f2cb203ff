"""One page for the person who decides, the engineer and the auditor, from what was measured."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
