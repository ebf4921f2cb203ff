"""What a measurement found, with its secondary measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from uncollapse.errors import InputError
from uncollapse.records import measurement_parts as parts
from uncollapse.records import scalars
from uncollapse.records.codec import Part
from uncollapse.records.influences import Influences
from uncollapse.records.notebook import Bar, Card, InNotebook, columns
from uncollapse.records.prediction import Prediction
from uncollapse.records.reference import ReferenceComparison
from uncollapse.records.scalars import Estimate, VarianceEstimate
from uncollapse.records.verdict import SENTENCES, Reason, Verdict

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

# Influences of so many units are kept in JSON: six bytes each, in base64.
MOST_UNITS = 20_000

CAVEATS = {
    key.removeprefix("caveat."): english
    for key, english in SENTENCES.items()
    if key.startswith("caveat.")
}


# Reasons that say: collapsed in size, but not in information.
_STILL_USABLE = {"UC207", "UC211"}


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
    permutations: scalars.Count
    p_value: scalars.Fraction


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
    of: scalars.PositiveCount
    caveat: str = CAVEATS["rankme"]


@dataclass(frozen=True)
class ClassSpectrum(Part):
    """Shape of the spread inside a class, mean over classes: see `metrics.secondary`."""

    participation: float | None
    effective_rank: float | None
    largest_share: Mapping[str, float] | None
    caveat: str = CAVEATS["class_spectrum"]


@dataclass(frozen=True)
class FirstDirection(Part):
    """The share of instances' variance that lies inside classes, with and without a direction.

    Attributes:
        of_total: Part of the total variance that lies along the direction of most variance.
        share: Inside classes over total, with it.
        without: The same when it is removed from all rows.
        without_inside: The same when the direction of most variance inside classes is removed.
    """

    of_total: float | None
    share: float | None
    without: float | None
    without_inside: float | None = None
    caveat: str = CAVEATS["first_direction"]


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
    first_direction: FirstDirection | None = None
    alignment: Alignment | None = None
    uniformity: SingleMeasure | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Measurement(InNotebook):
    """Whether embeddings are collapsed, with the numbers that say so.

    Variances are on the unit sphere with every class weighing the same (`micro` has them with every
    instance weighing the same); within = instance + view, total = within + between.

    Attributes:
        verdict: "healthy", "not-collapsed", "at-risk", "collapsed" or "cannot-tell".
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
        slices: What was found per slice column; None without slices.
        prediction: What theory predicts for the run's setting; None when it was not given.
        reference: What is left of a reference's structure; None without a reference.
        influences: What each independent unit moves the variances by, so that `compare` can pair
            rows that are the same. None of a stream; not in the JSON of more than 20,000 units.
        conditions: Under which all this was measured.

    Examples:
        >>> import numpy as np
        >>> from uncollapse import measure
        >>> labels, noise = np.arange(150) % 3, np.random.default_rng(0).standard_normal((150, 16))
        >>> measurement = measure(np.eye(3, 16)[labels] + 0.01 * noise, labels)
        >>> print(measurement.verdict, measurement.share, measurement.reasons[0].code)
        collapsed 0.0023 [0.0021, 0.0024] UC101
        >>> Measurement.from_json(measurement.to_json()) == measurement
        True
    """

    kind: ClassVar[str] = "measurement"

    verdict: Verdict
    reasons: tuple[Reason, ...]
    classes: tuple[parts.ClassMeasurement, ...]
    within_class_variance: VarianceEstimate
    instance_variance: VarianceEstimate
    view_variance: VarianceEstimate
    between_class_variance: VarianceEstimate
    total_variance: VarianceEstimate
    share: Estimate
    micro: parts.Variances = field(default_factory=parts.Variances)
    ssem: parts.Ssem
    secondary: SecondaryMeasures
    probe: parts.WithinClassProbe | None
    slices: Mapping[str, parts.SliceColumn] | None
    prediction: Prediction | None = None
    reference: ReferenceComparison | None = None
    influences: Influences | None = None
    conditions: parts.Conditions

    def to_dict(self) -> dict[str, Any]:
        """One key per field, without the influences of more units than `MOST_UNITS`."""
        record = super().to_dict()
        if self.influences is not None and sum(self.influences.units) > MOST_UNITS:
            record["influences"] = None
        return record

    @property
    def variances(self) -> parts.Variances:
        """The five variances with every class weighing the same."""
        return parts.Variances(*(self[field.name] for field in fields(parts.Variances)))

    def fails(self, on: Literal["collapsed", "at-risk"]) -> bool:
        """Whether a guard lets this not pass: the verdict is `on`, or a worse one.

        A class or a slice that is collapsed counts as the whole does: a guard must not let a model
        pass of which it prints that a part is collapsed. Unless what is left can still be used
        (UC207, UC211).

        Raises:
            InputError: `on` is neither of the two.

        Examples:
            >>> import numpy as np
            >>> from uncollapse import measure
            >>> labels = np.repeat([0, 1, 2], 50)
            >>> measure(np.eye(3, 16)[labels], labels).fails("collapsed")
            True
        """
        if on not in ("collapsed", "at-risk"):
            raise InputError("collapsed or at-risk as a guard", f"{on!r}", "choose one of the two")
        if on == "at-risk":
            return self.verdict in ("collapsed", "at-risk")
        codes = {reason.code for reason in self.reasons}
        part = not codes.isdisjoint({"UC204", "UC208"}) and codes.isdisjoint(_STILL_USABLE)
        return self.verdict == "collapsed" or part

    def card(self) -> Card:
        """The verdict with its first reasons; a row and a bar for every class."""
        kept = {} if self.reference is None else {c.label: c for c in self.reference.classes}
        rows = tuple(
            {"class": each.label, "rows": each.count, "verdict": each.verdict}
            | columns("within_class_variance", each.within_class_variance)
            | columns("share", each.share)
            | (columns("retention", kept[each.label].retention) if each.label in kept else {})
            for each in self.classes
        )
        if self.reference is None:
            axis, bars = (
                "within-class variance",
                [Bar.of("all classes", self.within_class_variance)],
            )
            bars += [Bar.of(each.label, each.within_class_variance) for each in self.classes]
        else:
            axis, bars = "retention in classes", [Bar.of("all classes", self.reference.retention)]
            bars += [Bar.of(each.label, each.retention) for each in self.reference.classes]
        title = f"{self.verdict}: share {self.share}, {len(self.classes)} classes"
        reasons = tuple(f"{reason.code}: {reason.text}" for reason in self.reasons[:3])
        return Card(title, reasons, rows, axis, tuple(bars))

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """The parts in the order in which they are read, a blank line after each."""
        from rich.console import Group

        from uncollapse.records import _text as text
        from uncollapse.records._reference_text import reference_parts

        yield from text.spaced(
            Group(*text.verdict_parts(self.verdict, self.reasons)),
            *([] if self.reference is None else reference_parts(self.reference)),
            text.variance_table(
                self.variances, self.micro, self.prediction, self.conditions.confidence
            ),
            text.class_table(self.classes, views=self.view_variance.estimate is not None),
            text.ssem_text(self.ssem),
            text.secondary_table(self.secondary),
            *([] if self.probe is None else [text.probe_table(text.FINER, self.probe)]),
            *text.slice_parts(self.slices or {}),
            text.conditions_text(self.conditions),
        )

    def __str__(self) -> str:
        from uncollapse.records import _text as text

        return text.plain(self)
