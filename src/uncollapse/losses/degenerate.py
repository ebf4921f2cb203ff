"""What is said of a batch that lacks the pairs of its loss and counts as nothing."""

from __future__ import annotations

import warnings

from uncollapse.errors import InputError


class DegenerateBatchWarning(UserWarning):
    """A batch lacks what the loss is made of, and counts as 0 without gradient.

    Examples:
        >>> import warnings
        >>> import torch
        >>> from uncollapse.losses import SupCLLoss
        >>> criterion = SupCLLoss(alpha=0, temperature=0.1, degenerate="zero")
        >>> with warnings.catch_warnings(record=True, action="always") as caught:
        ...     losses = [criterion(torch.eye(1, 4), torch.tensor([3])) for _ in range(2)]
        >>> [loss.item() for loss in losses], criterion.degenerate_batches, len(caught)
        ([0.0, 0.0], 2, 1)
    """


def warn_of(lacks: InputError | str, *, part: str = "the batch", stacklevel: int = 2) -> None:
    """Say once what a batch lacked; Python shows equal warnings of one line of code once."""
    warnings.warn(
        f"{part} counts as 0, because of degenerate='zero': {lacks}",
        DegenerateBatchWarning,
        stacklevel=stacklevel + 1,
    )
