"""The fused backend: Triton kernels, of whose matrix tiles exist where they are used.

evaluate           what the host does: sorts, starts kernels in order, and reads nothing
tile               what the kernels share: logits, ranges of classes, weights of pairs
tilings            how each kernel is cut and built
value_kernels      ranges of classes, denominators, and what pairs cost
gradient_kernels   the gradient, which makes logits again
"""

from uncollapse.losses._engine.fused.evaluate import evaluate_fused

__all__ = ["evaluate_fused"]
