"""What a measurement found, as a record that goes to JSON and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar, Literal

from uncollapse.records.codec import Document
from uncollapse.records.estimate import Estimate
from uncollapse.records.measurement_parts import (
    ClassMeasurement,
    Conditions,
    SliceColumn,
    Ssem,
    Variances,
    WithinClassProbe,
)
from uncollapse.records.prediction import Prediction
from uncollapse.records.reason import Reason
from uncollapse.records.secondary import SecondaryMeasures
from uncollapse.records.verdict import Verdict

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType


@dataclass(frozen=True, kw_only=True)
class Measurement(Document):
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
        slices: What was found per slice column; None without slices.
        prediction: What theory predicts for the run's setting; None when it was not given.
        conditions: Under which all this was measured.

    Examples:
        >>> import numpy as np
        >>> from uncollapse import measure
        >>> labels, noise = np.arange(150) % 3, np.random.default_rng(0).standard_normal((150, 16))
        >>> measurement = measure(np.eye(3, 16)[labels] + 0.01 * noise, labels)
        >>> print(measurement.verdict, measurement.share, measurement.reasons[0].code)
        collapsed 0.002256 [0.002124, 0.002387] UC101
        >>> Measurement.from_json(measurement.to_json()) == measurement
        True
    """

    kind: ClassVar[str] = "measurement"

    verdict: Verdict
    reasons: tuple[Reason, ...]
    classes: tuple[ClassMeasurement, ...]
    within_class_variance: Estimate
    instance_variance: Estimate
    view_variance: Estimate
    between_class_variance: Estimate
    total_variance: Estimate
    share: Estimate
    micro: Variances = field(default_factory=Variances)
    ssem: Ssem
    secondary: SecondaryMeasures
    probe: WithinClassProbe | None
    slices: Mapping[str, SliceColumn] | None
    prediction: Prediction | None = None
    conditions: Conditions

    @property
    def variances(self) -> Variances:
        """The five variances with every class weighing the same."""
        return Variances(*(self[field.name] for field in fields(Variances)))

    def fails(self, on: Literal["collapsed", "at-risk"]) -> bool:
        """Whether a guard lets this not pass: the verdict is what `on` names, or worse.

        A class or a slice that is collapsed counts as the whole does: a guard must not let a model
        pass of which it prints that a part is collapsed. Unless what is left can still be read
        (UC207).

        Args:
            on: The mildest verdict that fails.

        Examples:
            >>> import numpy as np
            >>> from uncollapse.metrics import measure
            >>> labels = np.repeat([0, 1, 2], 50)
            >>> measure(np.eye(3, 16)[labels], labels).fails("collapsed")
            True
        """
        if on == "at-risk":
            return self.verdict in ("collapsed", "at-risk")
        codes = {reason.code for reason in self.reasons}
        part = not codes.isdisjoint({"UC204", "UC208"}) and "UC207" not in codes
        return self.verdict == "collapsed" or part

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """The parts in the order in which they are read, a blank line after each."""
        from uncollapse.records import _text as text

        yield from text.spaced(
            text.verdict_text(self.verdict, self.reasons),
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
