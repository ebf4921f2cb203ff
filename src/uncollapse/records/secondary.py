"""Secondary measures as records: useful beside the variances, misleading in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from uncollapse.records._english import SENTENCES
from uncollapse.records.codec import Count, Fraction, Part, PositiveCount

CAVEATS = {
    key.removeprefix("caveat."): english
    for key, english in SENTENCES.items()
    if key.startswith("caveat.")
}


@dataclass(frozen=True)
class SingleMeasure(Part):
    """One number (None where it does not exist) and what must be known to read it."""

    value: float | None
    caveat: str


@dataclass(frozen=True)
class ClassDistance(Part):
    """CDNV over pairs of classes, debiased (infinity is None), and its plug-in as papers print it.

    `pairs_within_noise` are no further apart than sampling makes them; of several seeds the mean.
    """

    median: float | None
    mean: float | None
    plug_in_median: float | None
    pairs_within_noise: int | float
    caveat: str = CAVEATS["cdnv"]


@dataclass(frozen=True)
class DirectionalDistance(Part):
    """Directional CDNV over pairs of classes."""

    median: float | None
    mean: float | None
    caveat: str = CAVEATS["directional_cdnv"]


@dataclass(frozen=True)
class NC1Null(Part):
    """NC1 with the labels permuted: its mean, its range, and where the true one lies."""

    mean: float
    low: float
    high: float
    permutations: Count
    p_value: Fraction


@dataclass(frozen=True)
class NeuralCollapse(Part):
    """Papyan's NC1, with its null where permutations were asked for."""

    value: float | None
    null: NC1Null | None
    caveat: str = CAVEATS["nc1"]


@dataclass(frozen=True)
class SimplexDeviation(Part):
    """NC2: how far the centred class means are from a simplex."""

    cosine_deviation: float | None
    norm_variation: float | None
    caveat: str = CAVEATS["nc2"]


@dataclass(frozen=True)
class RankMe(Part):
    """RankMe, of `of` dimensions."""

    value: float | None
    of: PositiveCount
    caveat: str = CAVEATS["rankme"]


@dataclass(frozen=True)
class ClassSpectrum(Part):
    """Shape of the spread inside a class, mean over classes: see `metrics.secondary`."""

    participation: float | None
    effective_rank: float | None
    largest_share: Mapping[str, float] | None
    caveat: str = CAVEATS["class_spectrum"]


@dataclass(frozen=True)
class Alignment(Part):
    """Mean squared distance between views of an instance, and between instances of a class."""

    views: float | None
    classes: float | None
    caveat: str = CAVEATS["alignment"]


@dataclass(frozen=True)
class SecondaryMeasures(Part):
    """Every secondary measure with its caveat; None where one does not apply."""

    trace_quotient: SingleMeasure | None = None
    cdnv: ClassDistance | None = None
    directional_cdnv: DirectionalDistance | None = None
    nc1: NeuralCollapse | None = None
    nc2: SimplexDeviation | None = None
    rankme: RankMe | None = None
    class_spectrum: ClassSpectrum | None = None
    alignment: Alignment | None = None
    uniformity: SingleMeasure | None = None
