"""scikit-learn, which is optional: whether it is there, and how many threads it takes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from uncollapse.errors import InputError

__all__ = ["need_sklearn", "one_thread"]


def need_sklearn() -> None:
    """Raise the user's error when scikit-learn is not there."""
    try:
        import sklearn  # noqa: F401  (only whether it is there)
    except ImportError as error:
        raise InputError(
            "scikit-learn, which the within-class probe uses",
            "an environment without it",
            "pip install 'uncollapse[measure]'",
        ) from error


def one_thread() -> AbstractContextManager[Any]:
    """One thread for hundreds of small fits: on a busy machine threads wait for each other."""
    import sklearn.linear_model
    import sklearn.neighbors  # noqa: F401  (its libraries must be there to be limited)
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(limits=1)
    return limits
