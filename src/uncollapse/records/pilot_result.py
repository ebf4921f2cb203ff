"""What a pilot found, as a record that goes to JSON and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from uncollapse.records.codec import Count, Document, Fraction, NotNegative, Part, read_json
from uncollapse.records.estimate import Interval
from uncollapse.records.prediction import Phase
from uncollapse.records.reason import Message, Value
from uncollapse.records.setting import Setting
from uncollapse.records.setting_change import SettingChange
from uncollapse.records.verdict import Verdict

# By layer, the mean of each score over seeds.
Means = dict[str, dict[str, float]]


@dataclass(frozen=True)
class LayerScores(Part):
    """What one run reached at one layer, on rows that it was not trained on.

    `share` is of the total variance, `verdict` that of `measure`, `objective` what is maximised.
    """

    instance_variance: float | None = None  # Unbiased, on unit vectors, where it exists.
    share: float | None = None
    verdict: Verdict = "cannot-tell"
    task: float | None = None  # Accuracy of the training label by a linear probe.
    downstream: dict[str, float] = field(default_factory=dict)  # Balanced accuracy by data set.
    objective: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrialRun(Part):
    """One run of a setting: scores by layer, mean loss of the last epoch, epochs, seconds."""

    seed: int
    measured: dict[str, LayerScores]
    loss: float | None = None
    epochs: Count | None = None
    seconds: NotNegative = 0.0


@dataclass(frozen=True, kw_only=True)
class TrialFile(TrialRun, Document):
    """The file that a run leaves in its folder, so that nobody need run it again."""

    kind: ClassVar[str] = "trial"

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record in a JSON file; the first ones had their seed in the folder's name alone."""
        record = read_json(path, "a trial", "take the file out, and its run is measured again")
        seed = path.parent.name.removeprefix("seed-")
        if isinstance(record, dict) and seed.isdecimal():
            record = {"seed": int(seed)} | record
        return cls.from_dict(record, str(path))

    @classmethod
    def read_all(cls, pilot: Path) -> list[Self]:
        """Those in a pilot's folder, where one that is damaged is named."""
        return [cls.read(path) for path in sorted(pilot.glob("trials/*/*/measured-*.json"))]


@dataclass(frozen=True)
class PredictedVariance(Part):
    """What theory says of a setting, in short."""

    phase: Phase
    instance_variance: float
    within_class_variance: float | None = None


PilotVerdict = Literal["change", "keep", "cannot-tell"]
TrialStatus = Literal["waiting", "complete", "pruned", "failed", "predicted-collapse"]


@dataclass(frozen=True, kw_only=True)
class Trial(Part):
    """A setting: what is predicted and what its runs reached.

    Attributes:
        name: Of the setting; its folder is called so.
        change: Of the configuration; none for the start.
        size: How small the change is: |difference| of alpha, |log2 ratio| of temperature, batch
            and views, steps of augmentation.
        prediction: Its optimum by theory; None where theory refuses the setting.
        note: What theory does not say.
        status: How far it came.
        reason: Why it is not complete.
        seconds: Of all its runs.
        runs: One per seed.
        mean: Of their scores; None without runs.
        gain, task_change: Differences to the start, of the objective and of the training task;
            None where they were not compared.
    """

    name: str = "start"
    change: tuple[SettingChange, ...] = ()
    size: float | None = None
    prediction: PredictedVariance | None = None
    note: str = ""
    status: TrialStatus = "waiting"
    reason: str | None = None
    seconds: NotNegative = 0.0
    runs: tuple[TrialRun, ...] = ()
    mean: Means | None = None
    gain: Interval | None = None
    task_change: Interval | None = None


@dataclass(frozen=True)
class Objective(Part):
    """What a pilot maximises: its name, the labels or data it is a mean over, and in words."""

    name: str = ""
    columns: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class PilotReason(Part):
    """Why the verdict is what it is: UC8xx, and a sentence."""

    anchor: ClassVar[str] = ""
    advice: ClassVar[str] = ""

    code: str  # Stable.
    text: str  # In English.
    message: Message | None = None  # To say in another language; None in older files.

    @property
    def messages(self) -> tuple[Message, None, None] | None:
        """As those of a measurement's reason, which also has an anchor and advice."""
        return None if self.message is None else (self.message, None, None)

    @classmethod
    def from_key(cls, code: str, key: str, /, **values: Value) -> PilotReason:
        """The reason with the sentence of a key."""
        message = Message(key, values)
        return cls(code, str(message), message)


@dataclass(frozen=True, kw_only=True)
class Confirmation(Part):
    """The recommended setting and the start once more, on the test split with fresh seeds.

    Intervals are paired; `start` and `recommended` are means of scores, `runs` go by setting.
    """

    gain: Interval
    task_change: Interval
    split: str = "test"
    seeds: tuple[int, ...] = ()
    start: Means | None = None
    recommended: Means | None = None
    runs: dict[str, tuple[TrialRun, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Recommendation(Part):
    """The setting that is recommended, and the file of its whole configuration (`config`).

    Intervals are the simultaneous ones on validation rows; `confirmed` is what the test split says.
    """

    trial: str
    change: tuple[SettingChange, ...] = ()
    gain: Interval | None = None
    task_change: Interval | None = None
    margin: float | None = None
    confirmed: Confirmation | None = None
    seconds_per_run: dict[str, float] = field(default_factory=dict)
    config: str = ""


@dataclass(frozen=True)
class IntervalMethod(Part):
    """How the intervals are made, of how many comparisons at once, at which level."""

    method: str = ""
    family_size: Count = 0
    level: Fraction | None = None


@dataclass(frozen=True, kw_only=True)
class PilotRows(Part):
    """The part of the data that a pilot uses: its share of the training rows, and its rows.

    Half-widths are those of the 95 % interval of one seed's objective.
    """

    share: Fraction
    train_rows: Count
    validation_rows: Count
    test_rows: Count
    expected_half_width: NotNegative
    wanted_half_width: NotNegative


@dataclass(frozen=True, kw_only=True)
class PilotPlan(Part):
    """Size of a pilot: epochs of a run to the end and of the first rung (`short`).

    `runs` is in units of a run to the end, `seconds` the wall-clock time that is expected.
    """

    epochs: Count
    short: Count
    seconds_per_epoch: NotNegative
    runs: NotNegative
    seconds: NotNegative


@dataclass(frozen=True, kw_only=True)
class PilotConditions(Part):
    """Under which conditions a pilot compared its settings; `setting` and `config` are the start's.

    The fresh seeds are those of the confirmation.
    """

    setting: Setting | None = None
    rows: PilotRows | None = None
    plan: PilotPlan | None = None
    seeds: tuple[int, ...] = ()
    fresh_seeds: tuple[int, ...] = ()
    options: dict[str, str | int | float] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    chosen_on: str = "validation"
    confirmed_on: str = "test, once"


@dataclass(frozen=True, kw_only=True)
class PilotResult(Document):
    """What a pilot found.

    Attributes:
        verdict: "change", "keep" or "cannot-tell".
        reasons: Sentences with codes.
        layer: Where the objective was measured.
        objective: What was maximised.
        start: The present setting.
        candidates: The other trials, the smallest changes first.
        recommendation: None unless the verdict is "change".
        statistics: How intervals are made.
        conditions: Rows used, seeds, epochs, budget.

    Examples:
        >>> from uncollapse.records import Recommendation, SettingChange
        >>> change = SettingChange("loss.alpha", 0.0, 0.2)
        >>> chosen = Recommendation(trial="alpha-0.2", change=(change,), config="recommended.yaml")
        >>> result = PilotResult(verdict="change", recommendation=chosen)
        >>> PilotResult.from_json(result.to_json()).recommendation.change[0].after
        0.2
    """

    kind: ClassVar[str] = "pilot"
    verdict: PilotVerdict
    reasons: tuple[PilotReason, ...] = ()
    layer: str = "projector"
    objective: Objective = Objective()
    start: Trial = Trial()
    candidates: tuple[Trial, ...] = ()
    recommendation: Recommendation | None = None
    statistics: IntervalMethod = IntervalMethod()
    conditions: PilotConditions = field(default_factory=PilotConditions)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The start and the candidates."""
        return (self.start, *self.candidates)

    def table(self) -> list[dict[str, Any]]:
        """A row per setting, start first: what a data frame takes."""
        return [self._row(trial) for trial in self.trials]

    def _row(self, trial: Trial) -> dict[str, Any]:
        means = (trial.mean or {}).get(self.layer, {})
        predicted, gain = trial.prediction, trial.gain
        return {
            "setting": trial.name,
            "status": trial.status,
            "size": trial.size,
            "predicted_variance": None if predicted is None else predicted.instance_variance,
            "measured_variance": means.get("instance_variance"),
            "objective": means.get("objective"),
            "task": means.get("task"),
            "gain": None if gain is None else gain.estimate,
            "gain_low": None if gain is None else gain.low,
            "gain_high": None if gain is None else gain.high,
            "runs": len(trial.runs),
            "epochs": trial.runs[-1].epochs if trial.runs else None,
            "seconds": trial.seconds,
        }
