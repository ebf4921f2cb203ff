"""What a batch is refused for, by a dozen numbers of it: at once, or a step later without waiting.

A device computes while the host goes on; to look at a value is to wait. So a batch whose checks are
deferred leaves its numbers on the device, they are copied to the host while the step goes on, and
the next call of a loss judges those that have arrived.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import Options, smallest_norm
from uncollapse.losses._engine.definition import Definition, refuse_neighbourless, refuse_single
from uncollapse.losses._engine.samples import EMBEDDINGS, check_least, refuse_overflow


@dataclass(frozen=True)
class Facts:
    """Numbers of a batch by which it may be refused, where it was computed, and their names.

    The least and the largest size of a row (its scale, or norm where embeddings are taken as they
    are), and label; of each term, the anchors that have a pair. Where it matters instances, rows
    with a label, pairs of one instance and two labels, and of one class and two instances.
    """

    names: tuple[str, ...]
    numbers: Tensor  # (len(names),) float64.
    definition: Definition
    options: Options
    dtype: torch.dtype  # Of the computation.
    rows: int

    def read(self, numbers: Tensor) -> dict[str, float]:
        """The numbers, here or copied, by their names; waits for them."""
        return dict(zip(self.names, numbers.tolist(), strict=True))

    def judge(self, value: dict[str, float], where: str = "") -> None:
        """Raise if the batch, whose numbers these are, is none that the loss is defined for.

        If it is not said where the batch was, its rows and labels have been looked at already.
        """
        self._judge_rows(value["least size"], value["largest size"], where)
        check_least(int(value["least label"]))
        if value.get("conflicts"):
            raise InputError(
                "one label per instance",
                f"an instance with several{where}",
                "give instances of different classes different numbers",
            )
        if value.get("least instance") == value.get("largest instance", math.nan):
            refuse_single(self.rows)
        self.definition.check(value["least label"] == value["largest label"] >= 0)
        for number, term in enumerate(self.definition.terms):
            if term.scope == "own class" and not value["neighbours"]:
                refuse_neighbourless(term)
            having = int(value[f"having {number}"])
            anchors = int(value.get("labelled", having)) if term.labelled_anchors else self.rows
            term.check(self.definition.conventions, having, anchors - having, anchors)

    def _judge_rows(self, least: float, largest: float, where: str) -> None:
        normalize, names = self.options.normalize, "checks='now' names the row"
        if math.isnan(least + largest) or (normalize and least == 0):
            raise InputError(
                f"finite {EMBEDDINGS.name}",
                f"nan or infinity{where}",
                f"look for a diverged training step, or for half precision that overflows; {names}",
            )
        if not normalize:
            refuse_overflow(largest, self.dtype)
        # A device may round the quotient.
        elif where and largest > 0.99 * self.options.temperature**-0.5 / smallest_norm(self.dtype):
            raise InputError(
                f"{EMBEDDINGS.name} with a direction",
                f"a zero vector{where}",
                f"{EMBEDDINGS.remedy}; {names}",
            )


@dataclass(frozen=True)
class _Waiting:
    facts: Facts
    copied: Tensor
    event: Any  # Of the device, once the copy is done; None on a CPU.


_EARLIER = " in an earlier batch, whose check was deferred"
_waiting: deque[_Waiting] = deque()


def defer(facts: Facts) -> None:
    """Leave the batch to `judge_earlier`, unless its step is recorded for a graph."""
    if torch.compiler.is_compiling():
        return
    numbers = facts.numbers
    if numbers.device.type != "cuda":
        _waiting.append(_Waiting(facts, numbers, None))
        return
    if torch.cuda.is_current_stream_capturing():
        return
    copied = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
    copied.copy_(numbers, non_blocking=True)
    event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    _waiting.append(_Waiting(facts, copied, event))


def judge_earlier(*, wait: bool = False) -> None:
    """Raise for the first batch of an earlier call that is to be refused, if its numbers are here.

    Batches after it are forgotten: they come from the same fault, or will be seen again.
    """
    while _waiting:
        first = _waiting[0]
        if first.event is not None and not first.event.query():
            if not wait:
                return
            first.event.synchronize()
        _waiting.popleft()
        try:
            first.facts.judge(first.facts.read(first.copied), _EARLIER)
        except InputError:
            _waiting.clear()
            raise
