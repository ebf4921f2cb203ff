"""What benchmarks/loss.py compares: our losses, and what they replace."""

from __future__ import annotations

from collections.abc import Callable

import torch
from loss_tables import DENSE, PML, PRODUCTS, PRODUCTS_REUSED
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor
from torch.nn.functional import normalize

from uncollapse import losses

DIMENSION, VIEWS, TEMPERATURE = 128, 2, 0.1
OURS = {
    "supcl_loss": lambda z, y: losses.supcl_loss(z, y, alpha=0.5, temperature=TEMPERATURE),
    "supcl_loss, include": lambda z, y: losses.supcl_loss(
        z, y, alpha=0.5, temperature=TEMPERATURE, self_pairs="include"
    ),
    "supcl_loss, pairs": lambda z, y: losses.supcl_loss(
        z, y, alpha=0.5, temperature=TEMPERATURE, reduction="pairs"
    ),
    "ssem_cifar_loss": lambda z, y: losses.ssem_cifar_loss(
        z, y, alpha=0.5, temperature=TEMPERATURE
    ),
    "supcon_loss": lambda z, y: losses.supcon_loss(z, y, temperature=TEMPERATURE),
    "nt_xent_loss": lambda z, y: losses.nt_xent_loss(z, temperature=TEMPERATURE),
    "sincere_loss": lambda z, y: losses.sincere_loss(z, y, temperature=TEMPERATURE),
    "l_spread_loss": lambda z, y: losses.l_spread_loss(z, y, alpha=0.5, temperature=TEMPERATURE),
    "ssem_imagenet_loss": lambda z, y: losses.ssem_imagenet_loss(
        z, y, alpha=0.5, temperature=TEMPERATURE
    ),
    "class_conditional_info_nce_loss": lambda z, y: losses.class_conditional_info_nce_loss(
        z, y, temperature=TEMPERATURE
    ),
}
# Others need N x N matrices, many of them: beyond this they take minutes or do not fit.
LARGEST_DENSE = 16384


def dense_supcon(views: Tensor, labels: Tensor) -> Tensor:
    """SupCon as public repositories write it: masks over the whole similarity matrix."""
    z = normalize(views.flatten(0, 1), dim=1)
    labels = labels.repeat_interleave(views.shape[1])
    same_class = (labels[:, None] == labels[None, :]).float()
    not_self = torch.ones_like(same_class).fill_diagonal_(0)
    positives = same_class * not_self
    logits = z @ z.T / TEMPERATURE
    logits = logits - logits.max(dim=1, keepdim=True).values.detach()
    log_probabilities = logits - (logits.exp() * not_self).sum(1, keepdim=True).log()
    return -((positives * log_probabilities).sum(1) / positives.sum(1)).mean()


def metric_learning(views: Tensor, labels: Tensor) -> Tensor:
    criterion = SupConLoss(temperature=TEMPERATURE)
    return criterion(views.flatten(0, 1), labels.repeat_interleave(views.shape[1]))


def three_products(z: Tensor, storage: Tensor | None) -> None:
    """The matrix products of a dense loss's forward and backward pass, and nothing else."""
    similarities = torch.mm(z, z.T, out=storage) if storage is not None else z @ z.T
    gradient = similarities @ z
    gradient += similarities.T @ z


def affordable(size: int) -> list[str]:
    """The contenders that a batch of this size leaves time and memory for."""
    others = [PRODUCTS, PRODUCTS_REUSED, DENSE, PML] if size <= LARGEST_DENSE else []
    return others + (list(OURS) if size <= LARGEST_DENSE else ["supcl_loss"])


def contenders(views: Tensor, labels: Tensor, names: list[str]) -> dict[str, Callable[[], None]]:
    def trained(loss_of: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], None]:
        def step() -> None:
            leaf = views.detach().requires_grad_()
            loss_of(leaf, labels).backward()

        return step

    size = views.shape[0] * views.shape[1]
    wanted = [name for name in affordable(size) if not names or name in names]
    z = normalize(views.flatten(0, 1), dim=1)
    storage = z.new_empty(size, size) if PRODUCTS_REUSED in wanted else None
    steps = {
        PRODUCTS: lambda: three_products(z, None),
        PRODUCTS_REUSED: lambda: three_products(z, storage),
        DENSE: trained(dense_supcon),
        PML: trained(metric_learning),
    }
    steps |= {name: trained(loss_of) for name, loss_of in OURS.items()}
    return {name: steps[name] for name in wanted}


def batch(size: int, classes: int, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    instances = size // VIEWS
    views = torch.randn(instances, VIEWS, DIMENSION, generator=generator)
    labels = torch.randint(0, classes, (instances,), generator=generator)
    return views.to(device, dtype), labels.to(device)
