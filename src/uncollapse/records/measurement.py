"""What a measurement found, as a record that goes to JSON and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, get_args

from uncollapse.errors import InputError
from uncollapse.records.estimate import Estimate
from uncollapse.records.reason import Reason, Verdict

__all__ = ["SCHEMA_VERSION", "ClassMeasurement", "Measurement"]

SCHEMA_VERSION = 1

_ESTIMATES = (
    "within_class_variance",
    "instance_variance",
    "view_variance",
    "between_class_variance",
    "total_variance",
)
_AS_THEY_ARE = (
    "verdict",
    "ssem",
    "secondary",
    "probe",
    "slices",
    "conditions",
    "schema_version",
)


def _check_types(found: Measurement) -> None:
    """Raise ValueError where a part of a record is of another kind than it is read as."""
    for verdict in (found.verdict, *(one.verdict for one in found.classes)):
        if verdict not in get_args(Verdict):
            raise ValueError(f"the verdict {verdict!r}")
    for name in ("ssem", "secondary", "conditions"):
        if not isinstance(getattr(found, name), dict):
            raise ValueError(name)
    for name in ("probe", "slices", "prediction"):
        if not isinstance(getattr(found, name), dict | None):
            raise ValueError(name)
    for column in (found.slices or {}).values():
        for entry in column["values"].values():
            if entry["verdict"] not in get_args(Verdict):
                raise ValueError(f"the verdict {entry['verdict']!r} of a slice")
    for name in ("knn", "logistic"):
        if not isinstance((found.probe or {}).get(name), dict | None):
            raise ValueError(f"probe {name}")


@dataclass(frozen=True)
class ClassMeasurement:
    """What was found in one class.

    Attributes:
        label: Its label.
        count: Rows, all views counted.
        verdict: By its own interval.
        reason: Why, in words.
        within_class_variance, instance_variance, view_variance: Its variances.
        share: Instance variance (within, where there are no views) over the total of all classes.
    """

    label: Any
    count: int
    verdict: Verdict
    reason: str
    within_class_variance: Estimate
    instance_variance: Estimate
    view_variance: Estimate
    share: Estimate

    def to_dict(self) -> dict[str, Any]:
        """One key per attribute."""
        return {
            key: value.to_dict() if isinstance(value, Estimate) else value
            for key, value in vars(self).items()
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> ClassMeasurement:
        """The inverse of `to_dict`."""
        names = ("within_class_variance", "instance_variance", "view_variance", "share")
        estimates = {name: Estimate.from_dict(record.get(name) or {}) for name in names}
        reason = record.get("reason", "")
        return cls(record["label"], record["count"], record["verdict"], reason, **estimates)


@dataclass(frozen=True)
class Measurement:
    """Whether embeddings are collapsed, with the numbers that say so.

    Variances are on the unit sphere with every class weighing the same (`micro` has them with every
    instance weighing the same); within = instance + view, total = within + between.

    Attributes:
        verdict: "healthy", "at-risk", "collapsed" or "cannot-tell".
        reasons: Why, the deciding one first.
        classes: One entry per class, in label order.
        within_class_variance: 1 - mean cosine across instances of a class.
        instance_variance: Its part between instances, for views drawn anew: cosine between views
            less cosine across instances. Below zero where views of an instance repel each other
            (view splitting). None without views.
        view_variance: Its part between views of an instance; None without views.
        between_class_variance: Variance of class means.
        total_variance: Within plus between.
        share: What the verdict judges: instance variance (within, without views) over the total.
        micro: The five variances with every instance weighing the same.
        ssem: delta, omega and fit of the nearest simplex-to-simplex embedding.
        secondary: Other measures, each with its caveat; None where one does not apply.
        probe: What the within-class probe found; None without finer labels.
        slices: What was found per slice; None without slices.
        prediction: What theory predicts for the run's setting; None when it was not given.
        conditions: Under which all this was measured.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    classes: tuple[ClassMeasurement, ...]
    within_class_variance: Estimate
    instance_variance: Estimate
    view_variance: Estimate
    between_class_variance: Estimate
    total_variance: Estimate
    share: Estimate
    micro: dict[str, Estimate]
    ssem: dict[str, Any]
    secondary: dict[str, Any]
    probe: dict[str, Any] | None
    slices: dict[str, Any] | None
    prediction: dict[str, Any] | None
    conditions: dict[str, Any]
    schema_version: int = field(default=SCHEMA_VERSION)

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, one key per attribute."""
        record = dict(vars(self))
        record["reasons"] = [reason.to_dict() for reason in self.reasons]
        record["classes"] = [found.to_dict() for found in self.classes]
        record["micro"] = {name: value.to_dict() for name, value in self.micro.items()}
        for name in (*_ESTIMATES, "share"):
            record[name] = record[name].to_dict()
        return record

    def to_json(self, indent: int | None = 2) -> str:
        """Strict JSON: numbers that do not exist are null, never NaN."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False, ensure_ascii=False)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Measurement:
        """The inverse of `to_dict`; keys that this version does not know are left out.

        Raises:
            InputError: The record is not a measurement, or of a newer schema.
        """
        if not isinstance(record, dict) or not {"verdict", "schema_version"} <= set(record):
            raise InputError(
                "a measurement as `uncollapse measure --json` writes it",
                "a record without verdict and schema_version",
                "measure again with --json",
            )
        if (
            not isinstance(record["schema_version"], int)
            or record["schema_version"] > SCHEMA_VERSION
        ):
            raise InputError(
                f"a measurement of schema {SCHEMA_VERSION} or older",
                f"schema {record['schema_version']}",
                "install a newer uncollapse",
            )
        try:
            arguments: dict[str, Any] = {name: record[name] for name in _AS_THEY_ARE}
            arguments["prediction"] = record.get("prediction")
            arguments |= {name: Estimate.from_dict(record[name]) for name in _ESTIMATES}
            arguments["share"] = Estimate.from_dict(record["share"])
            arguments["reasons"] = tuple(Reason(**reason) for reason in record["reasons"])
            arguments["classes"] = tuple(ClassMeasurement.from_dict(c) for c in record["classes"])
            micro = record.get("micro") or {}
            arguments["micro"] = {name: Estimate.from_dict(v) for name, v in micro.items()}
            found = cls(**arguments)
            _check_types(found)
            return found
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                "a complete measurement", f"a record that lacks or garbles {error}", "measure again"
            ) from error

    @classmethod
    def from_json(cls, text: str) -> Measurement:
        """The inverse of `to_json`."""
        try:
            record = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError("JSON", f"text that is not ({error})", "measure again") from error
        return cls.from_dict(record)

    def __str__(self) -> str:
        from uncollapse.records.measurement_text import summary

        return summary(self)
