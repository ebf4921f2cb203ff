"""What the callbacks share: measure a model, remember it, warn when collapse begins."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from torch import nn

from uncollapse.errors import InputError
from uncollapse.monitor._measure_model import (
    Embed,
    accumulated,
    measure_model,
    own_part,
    unlabelled_where_ignored,
)
from uncollapse.monitor._numbers import CollapseWarning, as_numbers, warn_of
from uncollapse.monitor._probe_set import ProbeSet, kept_score
from uncollapse.records import Margins, Measurement, Retention


class Watch:
    """What the callbacks share: measure a model, remember it, warn when collapse begins."""

    def __init__(
        self,
        embed: Embed,
        batches: Iterable[Any] | None,
        score: str | None = None,
        lower_is_better: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.batches = batches
        self.score, self.lower_is_better = score, lower_is_better
        self.measurements: list[tuple[int, Measurement]] = []
        self.retentions: list[tuple[int, Retention]] = []
        self._embed, self._options = unlabelled_where_ignored(embed), options
        self._start: ProbeSet | None = None

    def _remember_start(self, model: nn.Module, batches: Iterable[Any], *, sharded: bool) -> None:
        """Embed the first rows of every class before training changes anything."""
        start, dropout = ProbeSet(), self._options.get("dropout", False)
        # What cannot be measured is warned of when it is measured.
        with suppress(InputError):
            accumulated(model, batches, own_part(sharded), start.recorded(self._embed), dropout)
        start = start.of_all_processes()
        self._start = start if start.labels else None

    def _numbers(
        self,
        model: nn.Module,
        batches: Iterable[Any],
        step: int,
        *,
        sharded: bool,
        tell: bool,
        score: float | None = None,
    ) -> dict[str, float]:
        """Measure, remember, and warn (where this process is to `tell`) if collapse begins.

        What cannot be measured (one class only, say) is warned of and does not stop the training;
        returned are the numbers to log, none where it could not be measured.
        """
        before = self.measurements[-1][1].verdict if self.measurements else None
        now = ProbeSet()
        embed = self._embed if self._start is None else now.recorded(self._embed)
        try:
            record = measure_model(model, batches, embed, sharded=sharded, **self._options)
        except InputError as error:
            if tell:
                warnings.warn(
                    f"step {step}: collapse not measured: {error}", CollapseWarning, stacklevel=3
                )
            return {}
        self.measurements.append((step, record))
        if tell and before != "collapsed":
            warn_of(record, f"step {step}", stacklevel=3)
        return as_numbers(record) | self._against_start(now, record, step, tell, score)

    def _against_start(
        self, now: ProbeSet, record: Measurement, step: int, tell: bool, score: float | None
    ) -> dict[str, float]:
        """Retention against the start of training, and the number that chooses a checkpoint."""
        if self._start is None:
            return {}
        found = now.of_all_processes().kept_from(self._start, record.conditions.confidence)
        if found is None or found.estimate is None:
            if tell:
                warnings.warn(
                    f"step {step}: no retention against the start of training: the batches hold"
                    " other rows, or come in another order; give `batches` that do not change",
                    CollapseWarning,
                    stacklevel=4,
                )
            return {}
        self.retentions.append((step, found))
        if score is not None and self.lower_is_better:
            score = 1 / (1 + max(score, 0.0))
        margins = record.conditions.margins or Margins()
        return {
            "retention": found.estimate,
            "kept_score": kept_score(record, found, margins, score),
        }
