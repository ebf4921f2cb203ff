"""A fixed part of the data, embedded at the start of training and again: what is left of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from uncollapse.errors import InputError
from uncollapse.metrics import retention
from uncollapse.records import Margins, Measurement, Retention

# Rows of a class that take part: enough for an interval of a few hundredths.
_MOST_ROWS = 100


@dataclass
class ProbeSet:
    """The first rows of every class, in the order in which they come."""

    embeddings: list[Tensor] = field(default_factory=list)
    labels: list[Tensor] = field(default_factory=list)
    instances: list[Tensor] = field(default_factory=list)
    _counts: Counter[int] = field(default_factory=Counter)

    def recorded(self, embed: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """The same function, whose rows are taken while they pass."""

        def embed_and_take(model: Any, batch: Any) -> Any:
            columns = embed(model, batch)
            if isinstance(columns, tuple) and 2 <= len(columns) <= 3:
                try:
                    taken = [torch.as_tensor(column).detach().cpu() for column in columns]
                except (TypeError, ValueError, RuntimeError) as error:
                    raise InputError(
                        "embed to return numbers for labels and instances",
                        " ".join(str(error).split())[:100],
                        "number them, for example by numpy.unique(labels, return_inverse=True)[1]",
                    ) from error
                self._take(*taken)
            return columns

        return embed_and_take

    def _take(self, embeddings: Tensor, labels: Tensor, instances: Tensor | None = None) -> None:
        taken = []
        for row, label in enumerate(labels.tolist()):
            self._counts[label] += 1
            if self._counts[label] <= _MOST_ROWS:
                taken.append(row)
        self.embeddings.append(embeddings[taken].float())
        self.labels.append(labels[taken])
        if instances is not None:
            self.instances.append(instances[taken])

    def of_all_processes(self) -> ProbeSet:
        """The rows of every process, in the order of the processes."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return self
        gathered: list[Any] = [None] * torch.distributed.get_world_size()
        mine = (self.embeddings, self.labels, self.instances)
        torch.distributed.all_gather_object(gathered, mine)
        embeddings, labels, instances = (
            [tensor for part in gathered for tensor in part[k]] for k in range(3)
        )
        return ProbeSet(embeddings, labels, instances)

    def kept_from(self, start: ProbeSet, confidence: float) -> Retention | None:
        """Retention against the start; None where the rows are not the same, or too few."""
        mine, before = torch.cat(self.labels), torch.cat(start.labels)
        if mine.shape != before.shape or not bool((mine == before).all()):
            return None
        # Processes name their instances each for itself: a number of its own for each of its.
        instances = None
        if self.instances:
            named = [k * (1 << 40) + part.long() for k, part in enumerate(self.instances)]
            instances = torch.cat(named).numpy()
        try:
            found = retention(
                torch.cat(self.embeddings).numpy(),
                torch.cat(start.embeddings).numpy(),
                mine.numpy(),
                instances=instances,
                confidence=confidence,
                permutations=0,
                drop_invalid=True,
            )
        except InputError:
            return None
        return found.retention


def kept_score(
    measurement: Measurement, found: Retention, margins: Margins, score: float | None
) -> float:
    """One number by which the best checkpoint is chosen: the larger, the better.

    Where the whole interval of retention lies above its margin, the score (0 or above), or without
    one the part of the variance that separates the classes, 1 - share; else retention - 1, which is
    below zero. So of the checkpoints that kept the structure of the start the best is chosen, and
    of those that did not none unless there is no other.
    """
    low = found.estimate if found.low is None else found.low
    if low is None or found.estimate is None:
        return -1.0
    if low < margins.from_start:
        return min(found.estimate, 0.999) - 1
    if score is not None:
        return score
    return 1 - (measurement.share.estimate or 0.0)
