from .evaluator import (
    CollapseEvaluator,
)
from .metric_learning import (
    PMLSupCLLoss,
)
from .sentences import (
    SentenceTransformerLoss,
)

__all__ = [
    "CollapseEvaluator",
    "PMLSupCLLoss",
    "SentenceTransformerLoss",
]
