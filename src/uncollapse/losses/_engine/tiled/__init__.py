"""The tiled backend: the similarity matrix by tiles that stay in cache, in linear memory.

A batch is sorted by class; the upper triangle of its matrix is walked over for the value and once
more for the gradient, whose tiles are kept as far as 36 MiB hold them. To be read in this order:

evaluate    the backend: denominators, positive pairs, value and gradient
layout      a batch as it was given to sorted and scaled rows, and back
weights     what each pair weighs in its term's mean
tiles       a tile: its logits, what is in scope, where its own classes are
partition   the matrix cut into tiles, and these shared out over threads
row_sums    first pass: denominators, and those of single pairs (SINCERE)
gradient    second pass: the gradient of denominators
"""

from uncollapse.losses._engine.tiled.evaluate import evaluate_tiled

__all__ = ["evaluate_tiled"]
