"""What a setting stands: damages of its data, what runs under them reached, what breaks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from uncollapse.records import scalars
from uncollapse.records.codec import Document, Part
from uncollapse.records.pilot_result import Objective, PilotReason
from uncollapse.records.pilot_trial import PredictedVariance
from uncollapse.records.run import SettingChange
from uncollapse.records.scalars import Interval
from uncollapse.records.setting import Setting
from uncollapse.records.stress_options import DamageKind
from uncollapse.records.verdict import Message, Verdict

StressState = Literal["holds", "breaks", "cannot-tell"]


@dataclass(frozen=True)
class Damage(Part):
    """One dose of one damage; `kind` "none" is the data and the setting as they are.

    Attributes:
        kind: What is done.
        dose: How much of it, as it was asked for: "10", "0.05", "mono", "strong".
        form: Which form of it ("step", "similar"), or of a corruption which one; "" for the usual.
        order: Place of the dose among those of its kind and form, from 0, the lightest first.
    """

    kind: DamageKind = "none"
    dose: str = ""
    form: str = ""
    order: scalars.Count = 0

    @property
    def name(self) -> str:
        """For the user, and of its folder."""
        if self.kind == "none":
            return "clean"
        return "-".join(filter(None, (self.kind, self.form, self.dose)))

    @property
    def curve(self) -> str:
        """What all doses of it have in common."""
        return "-".join(filter(None, (self.kind, self.form)))


@dataclass(frozen=True)
class StressScores(Part):
    """What one run reached at one layer, on test rows."""

    finer: scalars.AboveChance | None = None  # the objective: finer label, or retention
    training_label: scalars.Portion | None = None  # balanced accuracy, probe on the run's own rows
    smallest_class: scalars.Portion | None = None  # recall of the class with the fewest rows
    worst_class: scalars.Portion | None = None  # least recall of all classes
    instance_variance: scalars.Variance | None = None  # inside classes; unbiased, on unit vectors
    smallest_variance: scalars.Variance | None = None  # of the class with the fewest rows
    share: float | None = None  # of the total variance
    verdict: Verdict = "cannot-tell"


@dataclass(frozen=True, kw_only=True)
class StressFile(Document):
    """The file that a run leaves: its scores by test (see `StressDose.test`) and layer.

    `class_counts` and `wrong_labels` are of the training rows that it had.
    """

    kind: ClassVar[str] = "stress-trial"
    seed: scalars.Count
    measured: dict[str, dict[str, StressScores]]
    class_counts: tuple[scalars.Count, ...] = ()
    wrong_labels: scalars.Count = 0
    epochs: scalars.Count = 0
    loss: float | None = None
    seconds: scalars.NotNegative = 0.0


@dataclass(frozen=True, kw_only=True)
class StressRun(Part):
    """One run of a dose: its scores where it is judged, and its seconds."""

    seed: scalars.Count
    scores: StressScores
    seconds: scalars.NotNegative = 0.0


@dataclass(frozen=True, kw_only=True)
class StressDose(Part):
    """A setting under a dose of a damage.

    Attributes:
        name: "clean", or of the damage; of another setting with "against-" before it.
        dose: As it was asked for; "" of clean data.
        damage: What was done.
        setting: "start", or "against".
        test: On which rows it is judged: "clean", or the corruption or the shift.
        changes: Of the configuration: the damage itself, or what it made necessary.
        runs: One per seed.
        finer, training_label, smallest_class, instance_variance, smallest_variance: Means over
            seeds, with Student's interval.
        finer_change, training_change: Against the setting without damage, on the same test rows;
            intervals hold for all doses at once.
        smallest: Name of the class with the fewest training rows.
        predicted: What theory says of the setting under the damage; None where it does not.
        predicted_smallest: Predicted variance between the instances of that class.
        verdict: Most seeds' verdict, of equally many the worst.
        state: Whether it holds.
        note: What theory does not say, or why it was not trained.
        rows: Training rows.
        wrong_labels: Of these, with another label than theirs; mean over seeds.
    """

    name: str
    dose: str = ""
    damage: Damage = field(default_factory=Damage)
    setting: Literal["start", "against"] = "start"
    test: str = "clean"
    changes: tuple[SettingChange, ...] = ()
    runs: tuple[StressRun, ...] = ()
    finer: Interval | None = None
    training_label: Interval | None = None
    smallest_class: Interval | None = None
    instance_variance: Interval | None = None
    smallest_variance: Interval | None = None
    finer_change: Interval | None = None
    training_change: Interval | None = None
    smallest: str = ""
    predicted: PredictedVariance | None = None
    predicted_smallest: scalars.Portion | None = None
    verdict: Verdict = "cannot-tell"
    state: StressState = "cannot-tell"
    note: str = ""
    rows: scalars.Count = 0
    wrong_labels: scalars.NotNegative = 0.0


@dataclass(frozen=True, kw_only=True)
class Remedy(Part):
    """The least change that theory has against a dose that breaks; `changes` may be none."""

    name: str  # of the dose
    text: str
    message: Message | None = None
    changes: tuple[SettingChange, ...] = ()
    predicted: scalars.Portion | None = None  # instance variance after it

    @classmethod
    def of(
        cls,
        name: str,
        message: Message,
        changes: tuple[SettingChange, ...] = (),
        predicted: float | None = None,
    ) -> Remedy:
        """With the sentence of the message."""
        return cls(
            name=name, text=str(message), message=message, changes=changes, predicted=predicted
        )


@dataclass(frozen=True, kw_only=True)
class StressConditions(Part):
    """Under which it was stressed; `agreed` of `compared` doses had the phase that was predicted.

    Intervals are of `family` comparisons at once.
    """

    setting: Setting | None = None
    layer: str = "projector"
    split: str = "test"
    test_rows: scalars.Count = 0
    seeds: tuple[scalars.Count, ...] = ()
    epochs: scalars.Count = 0
    margin: scalars.Fraction = 0.05
    confidence: scalars.Fraction = 0.95
    family: scalars.Count = 0
    interval: str = ""
    agreed: scalars.Count = 0
    compared: scalars.Count = 0
    seconds: scalars.NotNegative = 0.0


@dataclass(frozen=True, kw_only=True)
class StressResult(Document):
    """What `uncollapse stress` found.

    Attributes:
        verdict: "breaks" where a dose of the present setting breaks, "holds" where all hold.
        reasons: Codes UC9xx with their sentences.
        objective: What `finer` is.
        first: Name of the dose that breaks first; "" where none does.
        doses: The clean setting first, then every damage by rising dose.
        remedies: The least change against the first dose of each damage that breaks.
        conditions: Layer, rows, seeds, margin, intervals.

    Examples:
        >>> clean = StressDose(name="clean", state="holds")
        >>> result = StressResult(verdict="holds", doses=(clean,))
        >>> StressResult.from_json(result.to_json()) == result
        True
    """

    kind: ClassVar[str] = "stress"
    verdict: StressState
    reasons: tuple[PilotReason, ...] = ()
    objective: Objective = field(default_factory=Objective)
    first: str = ""
    doses: tuple[StressDose, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    conditions: StressConditions = field(default_factory=StressConditions)

    def dose(self, name: str) -> StressDose:
        """The dose of a name; a KeyError where there is none."""
        return {dose.name: dose for dose in self.doses}[name]
