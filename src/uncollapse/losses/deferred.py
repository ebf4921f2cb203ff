"""Checks of earlier batches that have been put off."""

from __future__ import annotations

from uncollapse.losses._engine.checks import judge_earlier


def finish_checks() -> None:
    """Wait for the checks that are still deferred, and raise what the first of them found.

    With checks="deferred" a call raises what earlier batches were to be refused for. After the last
    one there is no later call: end with this.

    Raises:
        InputError: An earlier batch was not finite, had a row without a direction, lacked pairs or
            was otherwise none that its loss is defined for.

    Examples:
        >>> import torch
        >>> from uncollapse.losses import supcl_loss
        >>> views, labels = torch.randn(4, 2, 3), torch.arange(4)  # no two of a class
        >>> arguments = {"alpha": 0, "temperature": 0.1, "backend": "dense"}
        >>> loss = supcl_loss(views, labels, **arguments, checks="deferred")
        >>> try:
        ...     finish_checks()
        ... except ValueError as error:
        ...     print(str(error).split(",")[0])
        expected two instances of one class in the batch
    """
    judge_earlier(wait=True)
