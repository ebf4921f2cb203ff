"""A loss over given pairs of anchors and candidates, dense: for what miners and memories choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from uncollapse.errors import InputError


@dataclass(frozen=True)
class Pairs:
    """Which candidates are positives of an anchor, and which are in its denominator."""

    positives: Tensor  # (N, M) bool
    compared: Tensor  # (N, M) bool, the positives and the negatives

    @property
    def lacks(self) -> str | None:
        """What the loss cannot do without and the pairs do not have."""
        if not bool(self.positives.any()):
            return "no positive pair"
        if not bool((self.compared & ~self.positives).any()):
            return "no negative pair"
        return None


def pairs_of_classes(
    labels: Tensor | None, ref_labels: Tensor | None, instances: Tensor, indices: Any
) -> Pairs:
    """The pairs of a miner, or all of them; other views of the anchor's instance are no positives.

    `ref_labels` of None says that the candidates are the anchors themselves. The labels themselves
    say that candidate i is another embedding of anchor i, which is no pair of it, as in theirs.
    """
    own = ref_labels is None
    others = labels if ref_labels is None else ref_labels
    count, most = len(instances), len(instances) if others is None else len(others)
    if indices is not None:
        # Triplets (anchor, positive, negative), or pairs (anchor, positive, anchor, negative).
        pairs = indices if len(indices) == 4 else (*indices[:2], *indices[::2])
        first, positive, second, negative = pairs
        positives = torch.zeros(count, most, dtype=torch.bool, device=instances.device)
        compared = positives.clone()
        positives[first, positive] = True
        compared[second, negative] = True
        compared |= positives
    else:
        assert labels is not None  # the caller has looked
        assert others is not None
        positives = labels[:, None] == others
        compared = torch.ones_like(positives)
        if own or others is labels:
            compared.fill_diagonal_(False)
    if labels is not None:
        positives = positives & (labels >= 0)[:, None]
    if own:
        positives = positives & (instances[:, None] != instances)
    return Pairs(positives & compared, compared)


def pairs_of_views(instances: Tensor) -> Pairs:
    """Every two views of an instance, among all rows."""
    compared = ~torch.eye(len(instances), dtype=torch.bool, device=instances.device)
    return Pairs((instances[:, None] == instances) & compared, compared)


def anchor_losses(logits: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """(N,) mean over an anchor's positives p of log D_i - s_ip, 0 without; and who has some."""
    counts = pairs.positives.sum(dim=1)
    has = counts > 0
    compared = pairs.compared | ~has[:, None]  # so that no denominator is empty
    log_denominators = logits.masked_fill(~compared, -torch.inf).logsumexp(dim=1)
    means = (logits * pairs.positives).sum(dim=1) / counts.clamp(min=1)
    return (log_denominators - means).where(has, 0), has


def column(labels: Any, device: torch.device) -> Tensor | None:
    """Labels as a column of whole numbers; -100, which cross-entropy ignores, is -1."""
    if labels is None:
        return None
    expected = "labels as whole numbers, one for each row"
    try:
        found = torch.as_tensor(labels).to(device)
    except (TypeError, ValueError, RuntimeError) as error:
        remedy = "number them, for example by numpy.unique(labels, return_inverse=True)[1]"
        raise InputError(expected, f"a {type(labels).__name__} of other things", remedy) from error
    if found.ndim == 2 and found.shape[1] == 1:
        found = found.squeeze(1)
    if found.is_floating_point() and bool((found == found.round()).all()):
        found = found.long()
    if found.is_floating_point() or found.is_complex() or found.ndim != 1:
        cast = "labels.argmax(dim=1) of one-hot rows" if found.ndim == 2 else "labels.long()"
        raise InputError(
            expected,
            f"{found.dtype} of shape {tuple(found.shape)}",
            f"give the class number of each row, as in {cast}",
        )
    found = torch.where(found == -100, -1, found.long())
    if found.numel() and int(found.min()) < -1:
        raise InputError(
            "labels of 0 or more, or -1 (or -100) for unlabelled",
            f"label {int(found.min())}",
            "number the classes from 0",
        )
    return found


def unit(rows: Tensor) -> Tensor:
    """Rows divided by their norms, in float32 at least."""
    return torch.nn.functional.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)))
