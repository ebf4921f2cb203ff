"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

# Called with what is done so far and all there is to do (None where that is not known).
Progress = Callable[[int, "int | None"], None]


@dataclass(frozen=True)
class Step:
    """How far work in stages is."""

    done: int
    total: int | None = None  # all there is to do; None where that is not known
    stage: str = ""  # what is under way
    text: str = ""  # for the reader at this point, in lines; mostly nothing
    name: str = ""  # of what was just done, such as a run
    numbers: Mapping[str, float] = field(default_factory=dict)  # known by now, such as the loss


OnStep = Callable[[Step], None]


def quiet(done: int, total: int | None) -> None:
    """No progress."""


def no_steps(step: Step) -> None:
    """No progress of stages."""
