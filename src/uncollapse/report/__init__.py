"""One page for the person who decides, the engineer and the auditor, from what was measured."""

from uncollapse.extras import door

__getattr__, __dir__, __all__ = door(__name__, __file__, "report")
