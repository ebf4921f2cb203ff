"""The loss and the measurement in the forms that other libraries take."""

import lazy_loader

from uncollapse.extras import hinted

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = hinted(
    _load,
    __name__,
    {"CollapseEvaluator": "text", "SentenceTransformerLoss": "text", "PMLSupCLLoss": "peers"},
)
