"""What the losses share: a batch cut into tiles, sums over its pairs, and their gradient.

definition     what a loss is: terms, each a mean over positive pairs
arguments      what the caller gave, checked
autograd       from a definition and a batch to the loss and its gradient
objective      the terms' values, from the two passes over the similarity matrix:
  row_sums       first pass: denominators
  backward       second pass: the gradient of denominators
  sincere        between them: denominators of single pairs
  positives      positive pairs, without a matrix
  pair_weights   how much each of them weighs
batch          from embeddings to sorted, scaled rows and columns: grouping, distributed
tiles          the similarity matrix in pieces: partition, tile_cache, threads
"""

from uncollapse.losses._engine.arguments import (
    UNLABELLED,
    Options,
    check_number,
    compute_dtype,
    read_samples,
)
from uncollapse.losses._engine.autograd import evaluate
from uncollapse.losses._engine.definition import Definition, Scope, Term

__all__ = [
    "UNLABELLED",
    "Definition",
    "Options",
    "Scope",
    "Term",
    "check_number",
    "compute_dtype",
    "evaluate",
    "read_samples",
]
