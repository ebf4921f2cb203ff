"""What the losses share: sums over the pairs of a batch, and their gradient, by several backends.

arguments      what the caller gave, checked; samples: the batch of it
definition     what a loss is: terms, each a mean over positive pairs, and what each pair weighs
batch          what one process or several (processes) gave together
objective      the door: value and gradient for autograd, by the backend of `choice`
  dense          the formula over the whole matrix: plain (rows as they came), checks (when)
  fused          Triton kernels, of which only tiles exist: kernels, gradient_kernels, tilings
  tiled          two passes over the matrix by tiles, and positive pairs: grouping
    row_sums       first pass: denominators, and those of single pairs
    backward       second pass: their gradient
    tiles          the matrix in pieces: partition, and who computes which
products       of half precision as it is, where a device has them
beside         1 - retention of a batch and a reference beside it, from sums over each class:
  retained       value and gradient of some classes
"""
