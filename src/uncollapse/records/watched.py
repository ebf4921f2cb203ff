"""What a callback measured while a model trained: one line of a file for each measurement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from uncollapse.errors import InputError
from uncollapse.records.codec import Document
from uncollapse.records.measurement import Measurement
from uncollapse.records.reference import Retention
from uncollapse.records.scalars import Count


@dataclass(frozen=True, kw_only=True)
class WatchedMeasurement(Document):
    """A measurement at a step of a training.

    Attributes:
        run: When the training began (ISO 8601): a file may hold several.
        step: Of the training.
        rows: Which evaluation set, by the prefix that its metrics have; empty where there is one.
        measurement: It.
        retention: Against the start of training; None where it is not known.
        kept_score: The number by which a checkpoint is chosen; None without retention.

    Examples:
        >>> import numpy as np
        >>> from uncollapse import measure
        >>> record = measure(np.eye(3, 16)[np.arange(60) % 3], np.arange(60) % 3, permutations=0)
        >>> line = WatchedMeasurement(run="2026-01-01T00:00:00+00:00", step=5, measurement=record)
        >>> WatchedMeasurement.from_json(line.to_json(None)) == line
        True
    """

    kind: ClassVar[str] = "watched-measurement"

    run: str
    step: Count
    rows: str = ""
    measurement: Measurement
    retention: Retention | None = None
    kept_score: float | None = None


def read_watched(path: str | Path) -> tuple[WatchedMeasurement, ...]:
    """Every measurement of a file that a callback wrote, in its order.

    A last line that is not whole, because the training was killed while it was written, is left
    out.

    Args:
        path: A JSON Lines file, `collapse.jsonl` by default.

    Raises:
        InputError: The file is not there, or a line is no such measurement.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "collapse.jsonl"
        ...     _ = path.write_text("")
        ...     read_watched(path)
        ()
    """
    return tuple(_lines(Path(path)))


def _lines(path: Path) -> Iterator[WatchedMeasurement]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"a file of measurements at {path}",
            getattr(error, "strerror", None) or "text that is not UTF-8",
            "give the collapse.jsonl that a callback wrote",
        ) from error
    # By line feed alone: JSON strings may hold other characters that end a line.
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        if line.strip():
            yield WatchedMeasurement.from_json(line, f"line {number} of {path}")
