"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "quiet"]

# Called with what is done so far and all there is to do (None where that is not known).
Progress = Callable[[int, "int | None"], None]


def quiet(done: int, total: int | None) -> None:
    """No progress."""
