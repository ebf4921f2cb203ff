from ._engine.prepared import (
    PreparedReference,
    prepare_reference,
)
from .deferred import (
    finish_checks,
)
from .degenerate import (
    DegenerateBatchWarning,
)
from .gradient_cache import (
    backward_in_chunks,
    loss_in_chunks,
)
from .module import (
    SupCLLoss,
)
from .published import (
    nt_xent_loss,
    ssem_cifar_loss,
    ssem_imagenet_loss,
    supcon_loss,
)
from .retention import (
    RetentionTerms,
    reference_retention,
    retention_loss,
    retention_terms,
)
from .spread import (
    ClassSpread,
)
from .supcl import (
    reference_supcl,
    supcl_loss,
)
from .temperature import (
    LearnableTemperature,
)
from .terms import (
    SupCLTerms,
    supcl_terms,
)
from .within_classes import (
    class_conditional_info_nce_loss,
    l_spread_loss,
    sincere_loss,
)

__all__ = [
    "ClassSpread",
    "DegenerateBatchWarning",
    "LearnableTemperature",
    "PreparedReference",
    "RetentionTerms",
    "SupCLLoss",
    "SupCLTerms",
    "backward_in_chunks",
    "class_conditional_info_nce_loss",
    "finish_checks",
    "l_spread_loss",
    "loss_in_chunks",
    "nt_xent_loss",
    "prepare_reference",
    "reference_retention",
    "reference_supcl",
    "retention_loss",
    "retention_terms",
    "sincere_loss",
    "ssem_cifar_loss",
    "ssem_imagenet_loss",
    "supcl_loss",
    "supcl_terms",
    "supcon_loss",
]
