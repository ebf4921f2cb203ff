"""The supervised contrastive loss, exact and in memory linear in the batch (torch)."""

from uncollapse.extras import door

__getattr__, __dir__, __all__ = door(__name__, __file__, "torch")
