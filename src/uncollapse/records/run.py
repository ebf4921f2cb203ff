"""What a training run writes of itself, and changes of its configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from uncollapse.errors import InputError
from uncollapse.records import scalars
from uncollapse.records.codec import Document, Part, RefusedError
from uncollapse.records.environment import Environment
from uncollapse.records.prediction import Prediction
from uncollapse.records.reading import parse_json, read_text
from uncollapse.records.setting import Setting

InputKind = Literal["image", "vector", "views"]
# Of the inputs' share: what collapsed references of three data sets lie below, and good ones above.
COLLAPSED = 0.88


@dataclass(frozen=True)
class DataDescription(Part):
    """What a record says of the data, in JSON types.

    Two runs with one fingerprint, the SHA-256 of ids, labels, split and inputs, saw the same data.
    """

    source: str  # kind of source
    licence: str  # empty where the source does not say
    label: str  # column of the training label
    map: dict[str, list[str]] | None  # coarse name -> finer names, when a map made the label
    rows: dict[str, scalars.Count]  # by part
    classes: dict[str, dict[str, scalars.Count]]  # rows of each class, by part
    unlabelled: scalars.Count  # rows without a training label
    split: str  # how it came about
    seed: scalars.Count  # of the split and of the subset
    limit: scalars.Count | dict[str, scalars.Count | None] | None  # as configured
    notes: list[str]  # what the reader must know
    kind: InputKind  # what a row is
    shape: list[scalars.PositiveCount]  # of a row
    fingerprint: str
    fingerprint_of: str  # of what of the inputs


@dataclass(frozen=True)
class KeptReference(Part):
    """What the loss of a run keeps inside the classes.

    Attributes:
        weight: Of 1 - retention in the loss (`loss.keep`).
        reference: As `loss.reference` names it.
        dimension: Of the reference; None for the run's own backbone, which changes.
        fingerprint: SHA-256 of its training and validation rows; None for the same.
        columns: On which the loss takes its rows (`prepare_reference`); None in older runs, which
            took all.
        agreement: Of those with all columns, inside the class where it is least.
    """

    weight: scalars.NotNegative
    reference: str
    dimension: scalars.PositiveCount | None = None
    fingerprint: str | None = None
    columns: scalars.PositiveCount | None = None
    agreement: scalars.Fraction | None = None


@dataclass(frozen=True)
class ReferenceCheck(Part):
    """What is known of a reference before anything is trained with it.

    Attributes:
        reference: As `loss.reference` names it.
        retention: Of it against the inputs, inside the classes.
        shuffled: The largest where its rows are shuffled inside the classes.
        rows: How many were read.
        share: Part of the reference's variance that lies within classes; None in older records.
        inputs_share: The same of the inputs.

    Examples:
        >>> ReferenceCheck("stored", retention=0.002, shuffled=0.014, rows=525).unrelated
        True
        >>> ReferenceCheck("stored", 0.1, 0.01, 525, share=0.2, inputs_share=0.9).collapsed
        True
    """

    reference: str
    retention: scalars.Cosine
    shuffled: scalars.Cosine
    rows: scalars.Count
    share: scalars.Portion | None = None
    inputs_share: scalars.Portion | None = None

    @property
    def collapsed(self) -> bool:
        """Whether its rows differ inside the classes far less than the inputs do."""
        if self.share is None or self.inputs_share is None:
            return False
        return self.share < COLLAPSED * self.inputs_share

    @property
    def unrelated(self) -> bool:
        """Whether it has no more in common with the inputs than shuffled rows have."""
        return self.retention <= self.shuffled


RunStatus = Literal["running", "paused", "interrupted", "failed", "finished"]


@dataclass(frozen=True, kw_only=True)
class RunRecord(Document):
    """A run's run.json.

    Attributes:
        reason: Why it failed.
        base: Folder that relative paths in its configuration refer to.
        label_names, fine, slices: Names of the classes, of finer labels and of slices.
        setting: What theory is asked; None where it has no answer to such data and batches.
        coverage: What the batches of an epoch reach, in words.
        steps_per_epoch: Batches of an epoch.
        parameters: Of the model.
        versions: Of the packages that matter.
        environment: Machine, threads and code; None in older files.
        prediction: What theory says; None where it was not asked.
        keep: What the loss keeps; None without keep.
        before: Measures of validation rows before the first step; empty where none were made.
        more: What else the caller wanted noted; in JSON beside the other keys.
    """

    kind: ClassVar[str] = "run"
    open_field: ClassVar[str] = "more"
    status: RunStatus
    reason: str | None = None
    base: str = ""
    data: DataDescription
    label_names: tuple[str, ...] = ()
    fine: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    setting: Setting | None = None
    coverage: str = ""
    steps_per_epoch: scalars.Count | None = None
    parameters: scalars.Count | None = None
    command: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    environment: Environment | None = None
    prediction: Prediction | None = None
    keep: KeptReference | None = None
    before: dict[str, float] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, record: Any, source: str = "") -> Self:
        """The inverse of `to_dict`; a setting that theory refuses is read as none."""
        try:
            if isinstance(record, dict) and record.get("setting") is not None:
                Setting.from_dict(record["setting"], source)
        except InputError as error:
            if isinstance(error, RefusedError):  # What else is wrong is named by its whole key.
                record = record | {"setting": None}
        return super().from_dict(record, source)


@dataclass(frozen=True, kw_only=True)
class EpochLine(Part):
    """A line of metrics.jsonl: steps taken so far, the epoch from 1, seconds of training so far.

    `numbers` are means over the epoch's steps (loss, supervised, self_supervised,
    anchors_without_positives, learning_rate; with keep also keep, retention and
    classes_without_retention), and measures of validation rows, whose names have a
    slash; in JSON they stand beside the other keys.
    """

    kind: ClassVar[str] = "epoch"
    open_field: ClassVar[str] = "numbers"
    step: scalars.Count
    epoch: scalars.Count
    numbers: dict[str, float] = field(default_factory=dict)
    seconds: scalars.NotNegative = 0.0

    @property
    def measures(self) -> dict[str, float]:
        """What was measured on validation rows."""
        return {name: value for name, value in self.numbers.items() if "/" in name}

    @classmethod
    def read_all(cls, path: Path) -> list[Self]:
        """The lines of a file; none without one, and without a last one cut short by a kill."""
        text = ""
        if path.exists():
            text = read_text(path, "lines of JSON", "take the file out", "backslashreplace")
        records: list[Self] = []
        for number, line in enumerate(lines := text.splitlines(), 1):
            place = f"line {number} of {path}"
            try:
                record = parse_json(line, f"JSON in {place}", "take the line out")
            except InputError:
                if number == len(lines) and not text.endswith("\n"):
                    break
                raise
            records.append(cls.from_dict(record, place))
        return records


_IN_JSON = {"before": "from", "after": "to"}


@dataclass(frozen=True)
class SettingChange(Part):
    """One key of the configuration and its values before and after; "from" and "to" in JSON."""

    __pydantic_config__: ClassVar[Any] = {
        **Part.__pydantic_config__,
        "alias_generator": lambda name: _IN_JSON.get(name, name),
    }

    key: str
    before: Any = None
    after: Any = None

    def items(self) -> list[tuple[str, Any]]:
        """As in JSON."""
        return [(_IN_JSON.get(name, name), value) for name, value in super().items()]

    def __str__(self) -> str:
        before, after = ("none" if v is None else v for v in (self.before, self.after))
        return f"{self.key} {before} -> {after}"


def changed_config(block: Mapping[str, Any], changes: Iterable[SettingChange]) -> dict[str, Any]:
    """A configuration, as plain types, with some keys changed; the one that is given stays."""
    changed = dict(block)
    for change in changes:
        part, _, key = change.key.rpartition(".")
        changed[part or key] = changed[part] | {key: change.after} if part else change.after
    return changed


def changed_setting(setting: Setting, changes: Iterable[SettingChange]) -> Setting:
    """The setting after changes of a configuration's keys.

    Keys that theory does not know leave it as it is, and so do values that it refuses.
    """
    for change in changes:
        with suppress(TypeError, ValueError):
            setting = _changed(setting, change)
    return setting


def _changed(setting: Setting, change: SettingChange) -> Setting:
    part, _, name = change.key.rpartition(".")
    value: Any = change.after
    if part in ("", "loss") and name in ("alpha", "temperature"):
        return setting.with_(**{name: float(value)})
    if change.key == "views.count":
        return setting.with_(views=int(value))
    if part == "batch" and name in vars(setting.batch):
        value = None if value is None else int(value)
        return setting.with_(batch=replace(setting.batch, **{name: value}))
    return setting
