"""What the callbacks share: measure a model, remember it, warn when collapse begins."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import nn

from uncollapse.errors import InputError
from uncollapse.monitor._files import append_line, check_report, write_report
from uncollapse.monitor._measure_model import (
    Embed,
    accumulated,
    measure_model,
    own_part,
    unlabelled_where_ignored,
)
from uncollapse.monitor._numbers import CollapseWarning, as_numbers, warn_of
from uncollapse.monitor._probe_set import ProbeSet, kept_score
from uncollapse.monitor._stuck import Decode, StuckLoss
from uncollapse.records import (
    LossOfState,
    LossState,
    Margins,
    Measurement,
    Retention,
    WatchedMeasurement,
)

# Of what the callbacks write, by default, in the folder of the run.
_RECORDS, _REPORT = "collapse.jsonl", "collapse-report.html"
# Verdicts by which the classes are not points, whatever the loss is.
_SPREAD = ("not-collapsed", "healthy")


class Watch:
    """What the callbacks share: measure a model, remember it, warn when collapse begins."""

    def __init__(
        self,
        embed: Embed,
        batches: Iterable[Any] | None,
        score: str | None = None,
        lower_is_better: bool = False,
        *,
        decode: Decode | None = None,
        records: str | Path | bool = True,
        log_report: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        if log_report:
            check_report()
        self.records, self.log_report = records, log_report
        self._stuck = None if decode is None else StuckLoss(decode)
        self._run = datetime.now(UTC).isoformat(timespec="seconds")
        self._reported = 0
        self.batches = batches
        self.score, self.lower_is_better = score, lower_is_better
        self.measurements: list[tuple[int, Measurement]] = []
        self.retentions: list[tuple[int, Retention]] = []
        self._embed, self._options = unlabelled_where_ignored(embed), options
        self._start: ProbeSet | None = None
        self._kept_score: float | None = None  # of the last measurement

    @property
    def stuck(self) -> list[tuple[int, LossOfState]]:
        """(step, state) of every state at whose loss the run was found to stand still."""
        return [] if self._stuck is None else self._stuck.found

    def _saw_loss(self, loss: Any, step: int, *, covers: int = 1, tell: bool) -> None:
        """Look whether the loss of the training stands still."""
        if self._stuck is None or loss is None:
            return
        # A run that ends at the loss of collapsed classes by chance is told by its embeddings.
        verdict = self.measurements[-1][1].verdict if self.measurements else _SPREAD[0]
        excluded: tuple[LossState, ...] = ("collapsed",) if verdict in _SPREAD else ()
        self._stuck.update(loss, step, covers=covers, excluded=excluded, tell=tell)

    def _write_record(self, folder: Path | None, rows: str = "") -> None:
        """Append the last measurement to the file of this run."""
        place = _RECORDS if self.records is True else self.records
        if place is False or not self.measurements:
            return
        if folder is None and not Path(place).is_absolute():
            if self.records is True:
                return
            folder = Path()
        step, record = self.measurements[-1]
        kept = self.retentions[-1][1] if self._kept_score is not None else None
        line = WatchedMeasurement(
            run=self._run,
            step=step,
            rows=rows,
            measurement=record,
            retention=kept,
            kept_score=self._kept_score,
        )
        append_line(Path(folder or "", place), line.to_json(None))

    def _written_report(self, folder: Path, tell: bool) -> Path | None:
        """The report of the measurements so far; None where it was written already, or cannot be.

        Only one process writes it: the one that is to `tell`.
        """
        count = len(self.measurements)
        if not (self.log_report and tell and count > self._reported):
            return None
        self._reported = count
        first, last = self.measurements[0][1], self.measurements[-1][1]
        given = [first, last] if count > 1 else [last]
        return write_report(folder / _REPORT, given)

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
        self._kept_score = None
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
        self._kept_score = kept_score(record, found, margins, score)
        return {"retention": found.estimate, "kept_score": self._kept_score}
