"""The measurement of arrays, and the record, made of the moments of classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from uncollapse import records
from uncollapse.errors import InputError
from uncollapse.metrics._classes_verdict import judge_classes
from uncollapse.metrics._few import are_few, for_the_whole, shown, units_of
from uncollapse.metrics._reference import Reference, as_reference, compared
from uncollapse.metrics._retention import PERMUTATIONS, Drawing
from uncollapse.metrics._rows import about_rows
from uncollapse.metrics.classes import Classes, classes_of
from uncollapse.metrics.features import Floats
from uncollapse.metrics.influences import influences_of
from uncollapse.metrics.secondary import nc1_null, secondary_measures, ssem_fit, uniformity_of
from uncollapse.metrics.slices import measure_slices
from uncollapse.metrics.variance import Decomposition, decompose
from uncollapse.metrics.verdict import Known, judge
from uncollapse.probes import (
    ProbeOptions,
    WithinClassOptions,
    paired_few_shot,
    probe_within_classes,
)
from uncollapse.records import (
    Margins,
    Measurement,
    Prediction,
    ReferenceComparison,
    check_confidence,
    check_from_zero,
    check_permutations,
)
from uncollapse.samples import ByRole, Sample, checked, sample_of, unit_rows

DEFAULT_PROBE = ProbeOptions()

# Instances are kept for the permutation null up to this size; above it the null is left out.
_KEEP_BYTES = 1 << 29
# Rows of which uniformity takes all pairs.
_UNIFORMITY_ROWS = 2048

Column = ArrayLike | Any
Counts = dict[Any, int]


def measure_arrays(
    embeddings: ArrayLike | Any,
    labels: Column,
    *,
    instances: Column | None = None,
    groups: Column | None = None,
    fine_labels: Column | None = None,
    slices: Mapping[str, Column] | Column | None = None,
    reference: Reference | ArrayLike | Any | None = None,
    prediction: Prediction | Mapping[str, Any] | Callable[[Counts], Prediction] | None = None,
    margins: Margins | None = None,
    probe: ProbeOptions | None = DEFAULT_PROBE,
    permutations: int = 20,
    confidence: float = 0.95,
    drop_invalid: bool = False,
    seed: int = 0,
    layer: str | None = None,
    split: str | None = None,
    sources: Mapping[str, str] | None = None,
) -> Measurement:
    """As `measure`, of arrays."""
    check_confidence(confidence)
    check_from_zero(seed=seed)
    check_permutations(permutations)
    if not isinstance(slices, Mapping):
        slices = {} if slices is None else {"slice": slices}
    columns = ByRole[Any](
        labels=labels, instances=instances, groups=groups, fine_labels=fine_labels, slices=slices
    )
    given = None if reference is None else as_reference(reference)
    other, paired = (None, None) if given is None else (given.array, given.paired)
    sample = sample_of(embeddings, columns, sources, reference=other, paired=paired)
    sample = checked(sample, drop_invalid=drop_invalid)
    rng = np.random.default_rng(seed)
    classes = classes_of(sample, keep_bytes=_KEEP_BYTES if permutations else 0)
    if callable(prediction):
        prediction = prediction(classes.counts)
    null = None
    if permutations and classes.points is not None:
        counts = list(classes.counts.values())
        null = nc1_null(classes.points, counts, permutations, rng, classes.owners)
    options = within_options(probe)
    read, hits = None, dict[str, Floats]()
    if sample.fine_labels is not None and options is not None:
        read = probe_within_classes(sample, sample.fine_labels, options, rng, hits)
    kept = None
    if given is not None:
        drawing = Drawing(confidence, PERMUTATIONS if permutations else 0, seed)
        kept = _against(sample, given, drawing, options, classes)
        sample = replace(sample, beside=None)
    prediction, margins = _as_prediction(prediction), margins or Margins()
    slice_columns = measure_slices(sample, hits, margins, prediction, options, confidence, rng)
    chosen = np.sort(rng.permutation(len(sample.matrix))[:_UNIFORMITY_ROWS])
    uniformity = uniformity_of(unit_rows(sample.matrix[chosen]))
    return build_record(
        classes,
        prediction=prediction,
        margins=margins,
        confidence=confidence,
        layer=layer,
        split=split,
        reference=kept,
        in_memory=InMemory(
            uniformity, null, read, slice_columns, seed, influences_of(sample, classes)
        ),
    )


def _against(
    sample: Sample,
    reference: Reference,
    drawing: Drawing,
    options: WithinClassOptions | None,
    classes: Classes,
) -> ReferenceComparison:
    """The comparison with a reference, by finer labels too where there are any."""
    probe = None
    if sample.fine_labels is not None and options is not None:
        probe = paired_few_shot(
            sample,
            sample.fine_labels,
            least_units=options.least_units,
            confidence=drawing.confidence,
            seed=drawing.seed,
        )
    return compared(sample, reference, drawing, probe, classes)


def within_options(probe: ProbeOptions | None) -> WithinClassOptions | None:
    """The options of the within-class probe; None leaves it out."""
    if not isinstance(probe, ProbeOptions | None):
        raise InputError("probe as ProbeOptions, or None", f"{probe!r}", "None leaves it out")
    return None if probe is None else probe.within


@dataclass(frozen=True)
class InMemory:
    """What only all rows together tell; the seed is that of everything that was drawn."""

    uniformity: float | None = None
    nc1_null: records.NC1Null | None = None
    probe: records.WithinClassProbe | None = None
    slices: Mapping[str, records.SliceColumn] | None = None
    seed: int | None = None
    influences: records.Influences | None = None


def _as_prediction(prediction: Prediction | Mapping[str, Any] | None) -> Prediction | None:
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


def build_record(
    classes: Classes,
    *,
    prediction: Prediction | Mapping[str, Any] | None = None,
    margins: Margins | None = None,
    confidence: float = 0.95,
    layer: str | None = None,
    split: str | None = None,
    reference: ReferenceComparison | None = None,
    in_memory: InMemory | None = None,
    columns: Mapping[str, str] | None = None,
) -> Measurement:
    """The whole record from the moments of the classes and what was found beside them."""
    check_confidence(confidence)
    prediction, margins = _as_prediction(prediction), margins or Margins()
    beside = in_memory or InMemory()
    blocks = next((moments.blocks for moments in classes.units if moments.blocks), None)
    macro = decompose(classes.units, confidence=confidence)
    units = units_of(classes.units)
    told = shown(macro, units)
    secondary = secondary_measures(classes, macro.variances, beside.uniformity, beside.nc1_null)
    known = Known(
        beside.probe,
        beside.slices,
        reference,
        units,
        told,
        secondary.first_direction,
        layer,
        classes.same_views,
    )
    judged = for_the_whole(macro, units, confidence)
    verdict, reasons = judge(judged, classes.names, margins, prediction, known)
    reasons = (*reasons, *about_rows(classes))
    micro = decompose(classes.units, confidence=confidence, micro=True)
    return Measurement(
        verdict=verdict,
        reasons=reasons,
        classes=tuple(judge_classes(classes, macro, margins, prediction, reference)),
        **vars(told.variances),
        share=told.share,
        micro=shown(micro, units).variances,
        ssem=ssem_fit(classes.units, macro),
        secondary=secondary,
        probe=beside.probe,
        slices=beside.slices,
        prediction=prediction,
        reference=reference,
        influences=beside.influences,
        conditions=records.Conditions(
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
            interval=_interval(classes, told),
            blocks=blocks,
            copies=classes.copies,
            seed=beside.seed,
            columns=columns or {},
        ),
    )


def _interval(classes: Classes, told: Decomposition) -> str | None:
    """How intervals were found, and whether those of few units hold more; None without any."""
    if not all(moments.has_spread for moments in classes.units):
        return None
    blocks = next((moments.blocks for moments in classes.units if moments.blocks), None)
    kind = "units" if blocks is None else "blocks"
    smallest = min(moments.units for moments in classes.units)
    few = "-few" if told.share.low is not None and are_few(smallest) else ""
    return records.sentence(f"interval.{kind}{few}", {"blocks": blocks})
