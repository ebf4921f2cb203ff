from .evaluator import (
    CollapseEvaluator,
)
from .sentences import (
    SentenceTransformerLoss,
)

__all__ = [
    "CollapseEvaluator",
    "SentenceTransformerLoss",
]
