"""From moments to the record: the same path for arrays, streams and merged shards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    sentence,
)


@dataclass(frozen=True)
class InMemory:
    """What only all rows together tell; the seed is that of everything that was drawn."""

    uniformity: float | None = None
    nc1_null: NC1Null | None = None
    probe: WithinClassProbe | None = None
    slices: Mapping[str, SliceColumn] | None = None
    seed: int | None = None


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


def build_record(
    classes: Classes,
    *,
    prediction: Prediction | Mapping[str, Any] | None = None,
    margins: Margins | None = None,
    confidence: float = 0.95,
    layer: str | None = None,
    split: str | None = None,
    in_memory: InMemory | None = None,
) -> Measurement:
    """The whole record from the moments of the classes and what was found beside them."""
    check_confidence(confidence)
    prediction, margins = as_prediction(prediction), margins or Margins()
    beside = in_memory or InMemory()
    interval, blocks = _interval(classes)
    macro = decompose(classes.units, confidence=confidence)
    micro = decompose(classes.units, confidence=confidence, micro=True)
    verdict, reasons = judge(macro, classes.names, margins, prediction, beside.probe, beside.slices)
    return Measurement(
        verdict=verdict,
        reasons=reasons,
        classes=_per_class(classes, macro, margins, prediction),
        **vars(_variances(macro)),
        share=macro.share,
        micro=_variances(micro),
        ssem=ssem_fit(classes.units, macro),
        secondary=secondary_measures(classes, macro, beside.uniformity, beside.nc1_null),
        probe=beside.probe,
        slices=beside.slices,
        prediction=prediction,
        conditions=Conditions(
            classes=len(classes.names),
            samples=sum(moments.samples for moments in classes.units),
            units=sum(moments.units for moments in classes.units),
            dimension=classes.units[0].dimension,
            confidence=confidence,
            margins=margins,
            layer=layer,
            split=split,
            dtype=classes.dtype,
            normalised=classes.normalised,
            dropped=classes.dropped,
            views=classes.views,
            groups=any(moments.names is not None for moments in classes.units),
            interval=interval,
            blocks=blocks,
            seed=beside.seed,
        ),
    )


def _variances(levels: Decomposition) -> Variances:
    return Variances(levels.within, levels.instance, levels.view, levels.between, levels.total)


def _interval(classes: Classes) -> tuple[str | None, int | None]:
    """How intervals were found, and the blocks that were left out one by one."""
    if not all(moments.has_spread for moments in classes.units):
        return None, None
    blocks = next((len(m.rows) for m in classes.units if m.blocked and m.rows is not None), None)
    key = "interval.units" if blocks is None else "interval.blocks"
    return sentence(key, {"blocks": blocks}), blocks


def _per_class(
    classes: Classes, macro: Decomposition, margins: Margins, prediction: Prediction | None
) -> tuple[ClassMeasurement, ...]:
    shares = predicted_shares(prediction, len(classes.names))
    measured = []
    for name, moments, level, share in zip(
        classes.names, classes.units, macro.per_class, shares, strict=True
    ):
        verdict, reason = judge_class(level, margins, share)
        measured.append(
            ClassMeasurement(
                name,
                moments.samples,
                verdict,
                reason,
                level.within,
                level.instance,
                level.view,
                level.share,
            )
        )
    return tuple(measured)
