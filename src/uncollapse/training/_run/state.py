"""Where a run stands: what a checkpoint holds beside weights and optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from uncollapse.records import Document, Part


@dataclass(frozen=True)
class Means(Part):
    """Sums over the steps of an epoch, saved with a checkpoint in the middle of it."""

    steps: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def plus(self, values: Mapping[str, float]) -> Means:
        """With one step more."""
        sums = {name: self.sums.get(name, 0.0) + value for name, value in values.items()}
        return Means(self.steps + 1, self.sums | sums)

    def means(self) -> dict[str, float]:
        """Mean of every quantity over the steps so far."""
        return {name: value / self.steps for name, value in self.sums.items()}


@dataclass(frozen=True)
class BestEpoch(Part):
    """The best epoch so far: by which measure, its value there, and when."""

    by: str
    value: float
    step: int
    epoch: int


@dataclass(frozen=True, kw_only=True)
class RunState(Document):
    """A checkpoint's state.json.

    Attributes:
        epoch: Epochs that are complete.
        offset: Steps of the next one that are done.
        step: Steps in all.
        means: Of the epoch under way.
        seconds: Of training.
        best: None without measures.
    """

    kind: ClassVar[str] = "checkpoint"
    epoch: int
    offset: int
    step: int
    means: Means
    seconds: float
    best: BestEpoch | None = None

    @classmethod
    def at_start(cls) -> RunState:
        """Before the first step."""
        return cls(epoch=0, offset=0, step=0, means=Means(), seconds=0.0)
