"""Whether a loss stands still at a value that says what the embeddings are."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Collection
from statistics import median
from typing import Any

from uncollapse.errors import InputError
from uncollapse.monitor._numbers import CollapseWarning
from uncollapse.records import DecodedLoss, LossOfState, LossState, group_of, sentence

Decode = Callable[[float], DecodedLoss]

# What a loss may differ by from that of a state, as a part of it. Random embeddings are others in
# every batch, collapsed classes are neared slowly, and identical embeddings have an exact loss.
_TOLERANCES: dict[LossState, float] = {"identical": 1e-4, "random": 5e-3, "collapsed": 5e-4}
# At least half of a fourth decimal, to which loggers round (transformers before 5 did).
_ROUNDED = 5.1e-5
# Identical embeddings have no other loss in other batches, but for smaller ones: the part of the
# values that must be the same. It tells them from a narrow cone that happens to have their loss.
_STILL = 0.75
# No nearer to a state than this part of the way to the next one: else one cannot be told.
_BETWEEN = 0.25
_LEAST_VALUES = 4


class StuckLoss:
    """Says once when the loss of a run stands still at the value of a known state.

    The states are identical embeddings, random unit vectors and collapsed classes, with the losses
    that `decode_loss` gives. It stands still at one of them when the median over the first half of
    the last `steps` steps, and that over the second half, differ from its loss by no more than
    .05 % (random: .5 %; identical: .01 %, as must three quarters of the single values) or half of
    the fourth decimal, and by no more than a quarter of the way to the next state's. Other
    embeddings can have the same loss, which is what the warning says.

    Args:
        decode: loss -> `DecodedLoss`: `decode_loss` with what the code's loss is made of.
        steps: Steps of training over which the loss must stand still; at least four values.

    Attributes:
        found: (step, state) of every state that was said.

    Raises:
        InputError: `decode` gives no state, or refuses its options; steps below 4.

    Examples:
        >>> import warnings
        >>> from uncollapse import decode_loss
        >>> stuck = StuckLoss(lambda loss: decode_loss(loss, batch=64, temperature=0.1), steps=40)
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore", CollapseWarning)
        ...     for step in range(40):
        ...         stuck.update(4.8442, step)  # log(127)
        >>> [(step, state.state) for step, state in stuck.found]
        [(39, 'identical')]
    """

    def __init__(self, decode: Decode, steps: int = 200) -> None:
        if steps < _LEAST_VALUES:
            raise InputError(f"steps >= {_LEAST_VALUES}", f"{steps}", "200 is the default")
        self.steps = steps
        self.found: list[tuple[int, LossOfState]] = []
        self._near = _tolerances(decode(1.0))
        self._values: deque[tuple[Any, int]] = deque()
        self._covered = self._unseen = 0

    def update(
        self,
        loss: Any,
        step: int,
        *,
        covers: int = 1,
        excluded: Collection[LossState] = (),
        tell: bool = True,
    ) -> None:
        """Add a value, and warn if the loss now stands still at a state that was not said before.

        Args:
            loss: A number, or a tensor of one, which is read later, so that no device is waited
                for at every step.
            step: Of the training, for the warning.
            covers: Steps that the value is the mean over.
            excluded: States that are known not to hold.
            tell: Whether to warn, or only to remember in `found`.
        """
        self._values.append((loss, covers))
        self._covered += covers
        self._unseen += covers
        while len(self._values) > _LEAST_VALUES and (
            self._covered - self._values[0][1] >= self.steps
        ):
            self._covered -= self._values.popleft()[1]
        enough = self._covered >= self.steps and len(self._values) >= _LEAST_VALUES
        if not enough or self._unseen < self.steps // 4:
            return
        self._unseen = 0
        self._look(step, {*excluded, *(state.state for _, state in self.found)}, tell)

    def _look(self, step: int, excluded: Collection[LossState], tell: bool) -> None:
        values = [float(loss) for loss, _ in self._values]
        if not all(map(math.isfinite, values)):
            return
        half = len(values) // 2
        halves = median(values[:half]), median(values[half:])
        for state, near in self._near:
            away = max(abs(value - state.loss) for value in halves)
            if state.state == "identical":
                each = sorted(abs(value - state.loss) for value in values)
                away = max(away, each[math.ceil(_STILL * len(each)) - 1])
            if away <= near and state.state not in excluded:
                self.found.append((step, state))
                if tell:
                    self._warn(step, state, median(values))

    def _warn(self, step: int, state: LossOfState, value: float) -> None:
        said = sentence(
            "watch.stuck",
            {
                "value": value,
                "steps": self._covered,
                "state": state.state,
                "loss": state.loss,
                "meaning": group_of("loss-state")[state.state],
                "advice": group_of("loss-advice")[state.state],
            },
            longest=1000,
        )
        warnings.warn(f"step {step}: {said}", CollapseWarning, stacklevel=4)


def _tolerances(decoded: DecodedLoss) -> list[tuple[LossOfState, float]]:
    """The states that can be said, and how near to each a loss must lie."""
    states = [state for state in decoded.states if state.state in _TOLERANCES]
    if not states:
        raise InputError(
            "a loss with states whose value is known",
            f"none for {decoded.convention} without classes",
            "give decode_loss the number of classes in a batch",
        )
    found = []
    for state in states:
        others = [abs(state.loss - other.loss) for other in states if other is not state]
        near = max(_TOLERANCES[state.state] * abs(state.loss), _ROUNDED)
        found.append((state, min([near, *(_BETWEEN * away for away in others)])))
    return found
