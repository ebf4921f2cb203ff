"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

# Called with what is done so far and all there is to do (None where that is not known).
Progress = Callable[[int, "int | None"], None]


@dataclass(frozen=True)
class Step:
    """How far work in stages is.

    Attributes:
        done: Of the whole.
        total: All there is to do; None where that is not known.
        stage: What is under way.
        text: What the reader is to be told at this point, in lines; mostly nothing.
        numbers: What is known by now, such as the loss.
    """

    done: int
    total: int | None = None
    stage: str = ""
    text: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


OnStep = Callable[[Step], None]


def quiet(done: int, total: int | None) -> None:
    """No progress."""


def no_steps(step: Step) -> None:
    """No progress of stages."""
