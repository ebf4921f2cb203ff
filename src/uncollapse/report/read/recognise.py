"""Which record a JSON file holds."""

from __future__ import annotations

from typing import Any

from uncollapse.records import (
    Comparison,
    Document,
    Measurement,
    PilotResult,
    Prediction,
    ProbeResult,
    RunRecord,
)

# By the kind that a file names; and by keys that only it has, as files of before named none.
_RECORDS: dict[type[Document], set[str]] = {
    PilotResult: {"candidates", "recommendation"},
    Measurement: {"verdict", "within_class_variance", "share", "classes"},
    Comparison: {"verdict_before", "verdict_after", "changes"},
    ProbeResult: {"targets", "conditions"},
    Prediction: {"phase", "instance_variance", "certificate_gap"},
    RunRecord: {"status", "setting", "command"},
}


def record_of(content: Any, source: str) -> Document | None:
    """The record that parsed JSON is; None where it is none of those that a report takes.

    Raises:
        InputError: It is one of them, and something in it does not fit.
    """
    if not isinstance(content, dict):
        return None
    kind = content.get("kind")
    for record, keys in _RECORDS.items():
        if record.kind == kind or (kind is None and keys <= set(content)):
            return record.from_dict(content, source)
    return None
