"""What the losses share: sums over the pairs of a batch, and their gradient, by several backends.

arguments      what the caller gave, checked
definition     what a loss is: terms, each a mean over positive pairs, and what each pair weighs
batch          what one process or several gave together
objective      the door: value and gradient for autograd, by the backend of `choice`
  dense          the formula over the whole matrix: plain (rows as they came), checks (when)
  fused          Triton kernels, of which only tiles exist: kernels, gradient_kernels, products
  tiled          two passes over the matrix by tiles, and positive pairs: grouping
    row_sums       first pass: denominators, and those of single pairs
    backward       second pass: their gradient
    tiles          the matrix in pieces: partition, and who computes which
beside         1 - retention of a batch and a reference beside it, from sums over each class:
  retained       value and gradient of some classes
"""
