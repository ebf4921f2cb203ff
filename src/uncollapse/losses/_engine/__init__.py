"""What the losses share: sums over the pairs of a batch, and their gradient, by several backends.

The way of a batch, and a reader's:

objective      the door: value and gradient for autograd, by the backend that `choice` names
  arguments      what the caller gave beside the batch, checked
  samples        the batch, checked; `processes`, where several share one
  batch          both together, as all backends take them
  definition     what a loss is: terms, each a mean over positive pairs
  result         what a backend gives

Three backends, each behind one function, which share nothing of how sums are made:

dense          one file: the plain formula over the whole matrix
fused          a folder: Triton kernels, of whose matrix tiles exist where they are used
tiled          a folder: tiles that stay in a CPU's cache

Below them:

plain          dense and fused: rows as they came, and what they are refused for (`checks`: when)
grouping       classes and instances as runs of one sorted order
products       of half precision as it is, where a device has them
threads        torch's own, set aside

Beside them, for a loss that holds a batch against a reference:

beside         1 - retention, from rows to the instances of classes and back
retained       its value and gradient, from sums over each class
"""
