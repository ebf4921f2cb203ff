"""From moments to the record: the same path for arrays, streams and merged shards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uncollapse.errors import InputError
from uncollapse.metrics.class_moments import Classes
from uncollapse.metrics.secondary import secondary_measures
from uncollapse.metrics.ssem import ssem_fit
from uncollapse.metrics.variance import Decomposition, decompose
from uncollapse.metrics.verdict import judge, judge_class, predicted_shares
from uncollapse.records import (
    ClassMeasurement,
    Conditions,
    Margins,
    Measurement,
    NC1Null,
    Prediction,
    SliceColumn,
    Variances,
    WithinClassProbe,
)

__all__ = ["as_prediction", "assemble", "check_confidence"]


def as_prediction(prediction: Prediction | Mapping[str, Any] | None) -> Prediction | None:
    """A prediction from the record or from the dictionary of its JSON."""
    if prediction is None or isinstance(prediction, Prediction):
        return prediction
    read = Prediction.from_dict(dict(prediction))
    if len(read.phase_per_class) != len(read.instance_variance_per_class):
        raise InputError(
            "a prediction as `uncollapse predict --json` writes it",
            "phases and variances of classes that differ in number",
            "write it again with --json",
        )
    return read


def check_confidence(confidence: float) -> None:
    """Raise unless the confidence of intervals lies in (0, 1)."""
    if not 0 < confidence < 1:
        raise InputError("confidence in (0, 1)", f"{confidence}", "0.95 is usual")


def assemble(
    classes: Classes,
    conditions: Mapping[str, Any],
    margins: Margins,
    prediction: Prediction | None = None,
    confidence: float = 0.95,
    uniformity: float | None = None,
    nc1_null: NC1Null | None = None,
    probe: WithinClassProbe | None = None,
    slices: Mapping[str, SliceColumn] | None = None,
) -> Measurement:
    """The whole record from the moments of the classes and what was found beside them."""
    check_confidence(confidence)
    macro = decompose(classes.units, confidence=confidence)
    micro = decompose(classes.units, confidence=confidence, micro=True)
    verdict, reasons = judge(macro, classes.names, margins, prediction, probe, slices)
    return Measurement(
        verdict=verdict,
        reasons=reasons,
        classes=_per_class(classes, macro, margins, prediction),
        **vars(_variances(macro)),
        share=macro.share,
        micro=_variances(micro),
        ssem=ssem_fit(classes.units, macro),
        secondary=secondary_measures(classes.units, classes.instances, macro, uniformity, nc1_null),
        probe=probe,
        slices=slices,
        prediction=prediction,
        conditions=Conditions(
            classes=len(classes.names),
            samples=sum(moments.samples for moments in classes.units),
            units=sum(moments.units for moments in classes.units),
            dimension=classes.units[0].dimension,
            confidence=confidence,
            margins=margins,
            **conditions,
        ),
    )


def _variances(levels: Decomposition) -> Variances:
    return Variances(levels.within, levels.instance, levels.view, levels.between, levels.total)


def _per_class(
    classes: Classes, macro: Decomposition, margins: Margins, prediction: Prediction | None
) -> tuple[ClassMeasurement, ...]:
    shares = predicted_shares(prediction, len(classes.names))
    found = []
    for name, moments, level, share in zip(
        classes.names, classes.units, macro.per_class, shares, strict=True
    ):
        verdict, reason = judge_class(level, margins, share)
        found.append(
            ClassMeasurement(
                label=name,
                count=moments.samples,
                verdict=verdict,
                reason=reason,
                within_class_variance=level.within,
                instance_variance=level.instance,
                view_variance=level.view,
                share=level.share,
            )
        )
    return tuple(found)
