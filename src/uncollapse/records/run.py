"""What a training run writes of itself: run.json, and a line of metrics.jsonl for each epoch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Self

from uncollapse.records.codec import Count, Document, NotNegative, Part, RefusedError
from uncollapse.records.prediction import Prediction
from uncollapse.records.setting import Setting

InputKind = Literal["image", "vector", "views"]


@dataclass(frozen=True)
class DataDescription(Part):
    """What a record says of the data, in JSON types.

    Attributes:
        source: Kind of source.
        licence: Of the data; empty where the source does not say.
        label: Column of the training label.
        map: Coarse name -> finer names, when the label was made by a map.
        rows: Rows of each part.
        classes: Rows of each class, by part.
        unlabelled: Rows without a training label.
        split: How the split came about.
        seed: Of the split and of the subset.
        limit: As configured.
        notes: What the reader must know.
        kind: What a row is.
        shape: Shape of a row.
        fingerprint: SHA-256 of ids, labels, split and inputs: two runs with one fingerprint saw the
            same data.
        fingerprint_of: Of what of the inputs.
    """

    source: str
    licence: str
    label: str
    map: dict[str, list[str]] | None
    rows: dict[str, int]
    classes: dict[str, dict[str, int]]
    unlabelled: int
    split: str
    seed: int
    limit: int | dict[str, int | None] | None
    notes: list[str]
    kind: InputKind
    shape: list[int]
    fingerprint: str
    fingerprint_of: str


RunStatus = Literal["running", "paused", "interrupted", "failed", "finished"]


@dataclass(frozen=True, kw_only=True)
class RunRecord(Document):
    """A run's run.json.

    Attributes:
        status: How far the run came.
        reason: Why it failed.
        base: Folder that relative paths in its configuration refer to.
        data: Where the data come from, and their fingerprint.
        label_names: Of the classes.
        fine, slices: Names of finer labels and of slices.
        setting: What theory is asked; None where it has no answer to such data and batches.
        coverage: What the batches of an epoch reach, in words.
        steps_per_epoch: Batches of an epoch.
        parameters: Of the model.
        command: That started it.
        versions: Of the packages that matter.
        prediction: What theory says; None where it was not asked.
        more: What else the caller wanted noted; in JSON beside the other keys.
    """

    kind: ClassVar[str] = "run"
    status: RunStatus
    reason: str | None = None
    base: str = ""
    data: DataDescription
    label_names: tuple[str, ...] = ()
    fine: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    setting: Setting | None = None
    coverage: str = ""
    steps_per_epoch: Count | None = None
    parameters: Count | None = None
    command: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    prediction: Prediction | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, what else was noted beside the other keys."""
        record = super().to_dict()
        more: dict[str, Any] = record.pop("more")
        return record | more

    @classmethod
    def from_dict(cls, record: Any, source: str = "") -> Self:
        """The inverse of `to_dict`; a setting that theory refuses is read as none.

        Raises:
            InputError: It is no record of a run, or does not fit.
        """
        if isinstance(record, dict):
            known = {"kind", "schema_version", *(f.name for f in fields(cls))}
            more = {key: value for key, value in record.items() if key not in known}
            record = record | {"more": more, "setting": _setting(record.get("setting"))}
        return super().from_dict(record, source)


def _setting(record: Any) -> Any:
    try:
        return None if record is None else Setting.from_dict(record).to_dict()
    except RefusedError:
        return None


@dataclass(frozen=True, kw_only=True)
class EpochLine(Part):
    """A line of metrics.jsonl; read by key it has every number, as its JSON does.

    Attributes:
        step: Steps taken so far.
        epoch: From 1.
        seconds: Of training so far.
        numbers: Means over the epoch's steps (loss, supervised, self_supervised,
            anchors_without_positives, learning_rate), and measures of validation rows, whose names
            have a slash.
    """

    step: Count
    epoch: Count
    seconds: NotNegative = 0.0
    numbers: dict[str, float] = field(default_factory=dict)

    @property
    def measures(self) -> dict[str, float]:
        """What was measured on validation rows."""
        return {name: value for name, value in self.numbers.items() if "/" in name}

    def to_dict(self) -> dict[str, Any]:
        """One key per number, as a line has them."""
        numbers = {"step": self.step, "epoch": self.epoch, **self.numbers}
        return numbers | {"seconds": self.seconds}

    @classmethod
    def from_dict(cls, record: Any, source: str = "") -> Self:
        """The inverse of `to_dict`."""
        if isinstance(record, dict):
            own = {key: record[key] for key in ("step", "epoch", "seconds") if key in record}
            record = own | {"numbers": {k: v for k, v in record.items() if k not in own}}
        return super().from_dict(record, source)

    def keys(self) -> list[str]:
        """Names of all numbers."""
        return list(self.to_dict())

    def __getitem__(self, key: str) -> Any:
        return self.to_dict()[key]
