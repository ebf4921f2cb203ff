"""The verdict and its reasons in plain words, each with what it was judged by and what to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from uncollapse.metrics.margins import judge_share, predicted_share
from uncollapse.metrics.variance import Decomposition
from uncollapse.records import (
    Estimate,
    Margins,
    Prediction,
    Reason,
    SliceColumn,
    Verdict,
    WithinClassProbe,
)

__all__ = ["judge"]

# Total variance below which float64 knows no shares of it: one point, and so collapsed.
_ONE_POINT = 1e-9


def judge(
    decomposition: Decomposition,
    names: Sequence[Any],
    margins: Margins,
    prediction: Prediction | None,
    probe: WithinClassProbe | None,
    slices: Mapping[str, SliceColumn] | None,
) -> tuple[Verdict, list[Reason]]:
    """The overall verdict and its reasons, the deciding one first."""
    predicted = predicted_share(prediction)
    bounds = margins.for_share(predicted)
    verdict = judge_share(decomposition.share, bounds, decomposition.told)
    reasons = [_of_share(verdict, decomposition, bounds, predicted)]
    for check in (
        None if verdict == "collapsed" else _noise(decomposition, margins),
        _classes(decomposition, names, bounds[0]),
        _slices(slices, bounds[0]),
        _optimum(prediction),
        _uninformative(probe),
    ):
        if check is not None:
            reasons.append(check)
            # Of cannot-tell too: to know less of the whole does not make a finding milder.
            verdict = "collapsed" if verdict == "collapsed" else "at-risk"
    if (one_point := _constant(decomposition, _ONE_POINT, "UC103")) is not None:
        verdict = "collapsed"
        reasons.insert(0, one_point)
    readable = _readable(probe)
    if verdict == "collapsed" and readable is not None:
        verdict = "at-risk"
        reasons.insert(0, readable)
    if verdict == "at-risk" and reasons[0].code.startswith(("UC3", "UC4")):
        # What turned the verdict is said first, what the share alone would say after it.
        reasons.append(reasons.pop(0))
    return verdict, reasons + _besides(decomposition, margins, prediction)


def _of_share(
    verdict: Verdict,
    decomposition: Decomposition,
    bounds: tuple[float, float],
    predicted: float | None,
) -> Reason:
    share, views = decomposition.share, decomposition.view.estimate is not None
    what = "between instances of a class" if views else "within classes"
    number = f"{share} of the total variance lies {what}"
    anchor = f"margins {bounds[0]:.3g} (collapsed) and {bounds[1]:.3g} (healthy)"
    if predicted:
        anchor += f", predicted share {predicted:.3g}"
    if verdict == "cannot-tell" and share.low is None:
        text = "no interval to judge by: only sums were kept, or nothing varies"
        advice = "measure more instances per class, and keep intervals (CollapseMetric's default)"
        return Reason("UC301", text, anchor, advice)
    if verdict == "cannot-tell" and not decomposition.told:
        text = f"{number}, but so few units may lie together by chance"
        return Reason("UC302", text, anchor, "measure more instances per class (or more groups)")
    if verdict == "cannot-tell":
        text = f"{number}: the interval reaches across the margin"
        return Reason("UC302", text, anchor, "measure more instances per class (or more groups)")
    if verdict == "healthy":
        return Reason("UC401", f"{number}: clearly spread", anchor, "")
    advice = (
        "raise alpha, the weight of the self-supervised term, or lower the temperature; "
        "`uncollapse predict` gives the threshold for your batch"
    )
    within = decomposition.within
    if views and within.low is not None and within.low > bounds[1]:
        text = (
            f"{number}, though within-class variance is {within}: the views of an instance are "
            "spread, its instances are not"
        )
        code = "UC102" if verdict == "collapsed" else "UC206"
        return Reason(code, text, anchor, advice + "; more views or noise will not help")
    code = "UC101" if verdict == "collapsed" else "UC201"
    return Reason(code, number, anchor, advice)


def _constant(decomposition: Decomposition, margin: float, code: str) -> Reason | None:
    total = decomposition.total
    if total.high is None or total.high >= margin:
        return None
    return Reason(
        code,
        f"all embeddings lie nearly at one point, whatever their class: total variance {total}",
        f"margin {margin:.3g} of total variance",
        "subtract the mean embedding and measure again; if it stays, the encoder is constant",
    )


def _noise(decomposition: Decomposition, margins: Margins) -> Reason | None:
    ratio = decomposition.noise_ratio
    if ratio.high is None or ratio.high >= margins.noise:
        return None
    return Reason(
        "UC202",
        f"instances differ less than views of one instance do: ratio {ratio}",
        f"view variance {decomposition.view}, margin {margins.noise:.3g} of it",
        "average the views, weaken the augmentation, or raise alpha",
    )


def _classes(decomposition: Decomposition, names: Sequence[Any], margin: float) -> Reason | None:
    # By intervals that hold for all classes at once: among 1000 healthy classes, 25 would be
    # called something else at 95 % each.
    collapsed = [
        str(name)
        for name, level in zip(names, decomposition.per_class, strict=True)
        if level.certain_high is not None and level.certain_high < margin
    ]
    if not collapsed:
        return None
    return Reason(
        "UC204",
        f"{len(collapsed)} of {len(names)} classes are collapsed: {_listed(collapsed)}",
        f"margin {margin:.3g}, intervals that hold for all classes at once",
        "small classes collapse first: balance the batches, or raise alpha",
    )


def _slices(slices: Mapping[str, SliceColumn] | None, margin: float) -> Reason | None:
    entries = {
        f"{name}={value}": entry
        for name, column in (slices or {}).items()
        for value, entry in column.values.items()
    }
    collapsed = [name for name, entry in entries.items() if entry.certainly_collapsed]
    if not collapsed:
        return None
    return Reason(
        "UC208",
        f"{len(collapsed)} of {len(entries)} slices are collapsed: {_listed(collapsed)}",
        f"margin {margin:.3g}, intervals that hold for all slices at once",
        "compare what the model is given of them: number of rows, preprocessing, augmentation",
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _optimum(prediction: Prediction | None) -> Reason | None:
    if prediction is None or prediction.phase == "spread":
        return None
    return Reason(
        "UC203",
        f"the loss of this setting is lowest in {prediction.phase}: what spread is left is there "
        "because training has not converged or the encoder cannot follow",
        f"predicted instance variance {prediction.instance_variance:.3g}",
        "choose a setting in the spread phase: `uncollapse predict` gives its threshold",
    )


def _uninformative(probe: WithinClassProbe | None) -> Reason | None:
    if probe is None or probe.verdict != "no-information":
        return None
    return Reason(
        "UC205",
        f"the spread does not tell the finer labels apart: {probe.summary}",
        "permutation null of the within-class probe",
        "spread without information is noise: more training, other augmentations, another layer",
    )


def _readable(probe: WithinClassProbe | None) -> Reason | None:
    if probe is None or probe.verdict != "information":
        return None
    return Reason(
        "UC207",
        f"the variance is collapsed, but the finer labels can still be read: {probe.summary}",
        "permutation null of the within-class probe",
        "keep float64 or rescale the residuals before use; distances will not show it",
    )


def _besides(
    decomposition: Decomposition, margins: Margins, prediction: Prediction | None
) -> list[Reason]:
    found = []
    constant = _constant(decomposition, margins.constant, "UC504")
    if constant is not None:
        found.append(constant)
    if decomposition.view.estimate is None:
        found.append(
            Reason(
                "UC501",
                "no instances with several views were given, so view noise cannot be told from "
                "spread between instances",
                "within-class variance stands for instance variance",
                "if rows are augmented views, name their instance column",
            )
        )
    between = decomposition.between
    if between.low is not None and between.low <= 0:
        found.append(
            Reason(
                "UC502",
                f"classes do not differ: between-class variance {between}",
                "zero",
                "check that labels belong to these rows",
            )
        )
    if prediction is not None:
        measured, wanted = decomposition.within, _for_new_instances(prediction)
        side = _side(measured, wanted)
        found.append(
            Reason(
                "UC503",
                f"within-class variance {measured} is {side} the predicted {wanted:.4g}"
                " between two instances",
                "the global optimum of this setting",
                "",
            )
        )
    return found


def _for_new_instances(prediction: Prediction) -> float:
    """Predicted within-class variance as the estimate has it: 1 - mean cosine of two instances.

    The prediction's own is that of the n instances as a whole population, low by 1 - 1/n.
    """
    cosines = [cosine for cosine in prediction.cosines.a if cosine is not None]
    classes = prediction.cosines.multiplicity
    if not cosines or len(cosines) != len(classes):
        return prediction.within_class_variance
    return float(1 - np.average(cosines, weights=classes))


def _side(measured: Estimate, wanted: float) -> str:
    if measured.low is None or measured.high is None:
        return "beside"
    if measured.high < wanted:
        return "below"
    return "above" if measured.low > wanted else "consistent with"
