"""Encoders, the training loop, embeddings of a run (torch, Lightning Fabric, timm)."""

from uncollapse.extras import door

__getattr__, __dir__, __all__ = door(__name__, __file__, "train")
