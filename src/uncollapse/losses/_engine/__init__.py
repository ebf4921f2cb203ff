"""What the losses share: a batch cut into tiles, sums over its pairs, and their gradient.

arguments      what the caller gave, checked
definition     what a loss is: terms, each a mean over positive pairs, and what each pair weighs
batch          from embeddings to sorted, scaled rows and columns: grouping
objective      value and gradient, from two passes over the similarity matrix and positive pairs:
  row_sums       first pass: denominators, and those of single pairs
  backward       second pass: their gradient
beside         1 - retention of a batch and a reference beside it, from sums over each class:
  retained       value and gradient of some classes
tiles          the similarity matrix in pieces: partition, and who computes which
"""
