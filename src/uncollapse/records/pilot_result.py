"""What a pilot found, as a record that goes to JSON and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from uncollapse.records import scalars
from uncollapse.records.codec import Part
from uncollapse.records.notebook import Bar, Card, InNotebook
from uncollapse.records.pilot_trial import Means, SearchStep, TradePoint, Trial, TrialRun
from uncollapse.records.run import SettingChange
from uncollapse.records.scalars import Interval
from uncollapse.records.setting import Setting
from uncollapse.records.verdict import Message, Value

PilotVerdict = Literal["change", "keep", "cannot-tell"]


@dataclass(frozen=True)
class Objective(Part):
    """What a pilot maximises: its name, what it is a mean over or held against, and in words."""

    name: str = ""
    columns: tuple[str, ...] = ()
    text: str = ""
    kinds: scalars.Count | None = None  # finer labels inside the classes, of one column

    @property
    def by_retention(self) -> bool:
        """Whether no finer label judges; `columns` are references then."""
        return self.name == "retention"


@dataclass(frozen=True)
class PilotReason(Part):
    """Why the verdict is what it is: a stable code UC8xx, and a sentence."""

    anchor: ClassVar[str] = ""
    advice: ClassVar[str] = ""

    code: str
    text: str
    message: Message | None = None  # None in older files

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

    Welch's intervals: means of the fresh seeds, spread of both rounds. `start` and `recommended`
    are means of scores, `runs` go by setting. `over_free` is what a trained setting (what
    is recommended, or `next`) gains over what is free (`free`, or what is recommended).
    """

    gain: Interval
    task_change: Interval
    split: str = "test"
    seeds: tuple[scalars.Count, ...] = ()
    start: Means | None = None
    recommended: Means | None = None
    runs: dict[str, tuple[TrialRun, ...]] = field(default_factory=dict)
    over_free: Interval | None = None
    task_over_free: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Recommendation(Part):
    """The setting that is recommended, and the file of its whole configuration (`config`).

    Intervals are the simultaneous ones on validation rows; `confirmed` is what the test split says.
    `margin_shown`: whether the interval there rules out a loss on the training task above `margin`.
    A free one has no change: `layer` is what to take in place of the present embedding, and `map`
    the file of the linear map that is to be applied, where there is one.
    """

    trial: str
    layer: str = ""  # "" in older files: the pilot's
    free: str = ""  # the best free alternative at the same deployment; "" for none other
    next: str = ""  # where what is recommended is free, the trained setting that gains most
    over_free: Interval | None = None  # of what is trained, on validation rows
    task_over_free: Interval | None = None
    map: str = ""
    change: tuple[SettingChange, ...] = ()
    gain: Interval | None = None
    task_change: Interval | None = None
    margin: scalars.Fraction | None = None
    margin_shown: bool | None = None  # None in older files
    confirmed: Confirmation | None = None
    seconds_per_run: dict[str, scalars.NotNegative] = field(default_factory=dict)
    config: str = ""


@dataclass(frozen=True)
class IntervalMethod(Part):
    """How the intervals are made, of how many comparisons at once, at which level."""

    method: str = ""
    family_size: scalars.Count = 0
    level: scalars.Fraction | None = None


@dataclass(frozen=True, kw_only=True)
class PilotRows(Part):
    """The part of the data that a pilot uses: its share of the training rows, and its rows.

    Half-widths are those of the 95 % interval of one seed's objective.
    """

    share: scalars.Fraction
    train_rows: scalars.Count
    validation_rows: scalars.Count
    test_rows: scalars.Count
    expected_half_width: scalars.NotNegative
    wanted_half_width: scalars.NotNegative


@dataclass(frozen=True, kw_only=True)
class PilotPlan(Part):
    """Size of a pilot: epochs of a run to the end and of the first rung (`short`).

    `runs` is in units of a run to the end, `seconds` the wall-clock time that is expected. Where
    the goal is the best setting, `searched` is the number of runs that look for it, `lengths` are
    the epochs that they may have, and `longer` is how many of the best are run once more with twice
    the epochs.
    """

    epochs: scalars.Count
    short: scalars.Count
    seconds_per_epoch: scalars.NotNegative
    runs: scalars.NotNegative
    seconds: scalars.NotNegative
    searched: scalars.Count = 0
    lengths: tuple[scalars.Count, ...] = ()
    longer: scalars.Count = 0  # 0 in older files


@dataclass(frozen=True, kw_only=True)
class PilotConditions(Part):
    """Under which conditions a pilot compared its settings; `setting` and `config` are the start's.

    The fresh seeds are those of the confirmation. `calibration` says in what the runs that networks
    are foretold by were made under other conditions; None where there was no calibration.
    """

    setting: Setting | None = None
    rows: PilotRows | None = None
    plan: PilotPlan | None = None
    seeds: tuple[scalars.Count, ...] = ()
    fresh_seeds: tuple[scalars.Count, ...] = ()
    options: dict[str, str | int | float] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    calibration: tuple[Message, ...] | None = None
    chosen_on: str = "validation"
    confirmed_on: str = "test, once"


@dataclass(frozen=True, kw_only=True, repr=False)
class PilotResult(InNotebook):
    """What a pilot found.

    Attributes:
        verdict: Whether the setting should "change", one should "keep" it, or "cannot-tell".
        reasons: Why, each with its code.
        layer: Where the start is deployed, and the objective was measured.
        deploy: What can be deployed; "" in older files.
        objective: What was maximised.
        start: The present setting.
        candidates: The other trials, free ones first, then the smallest changes.
        recommendation: None unless the verdict is "change".
        trade: Where every setting stands at each layer, between finer and training label.
        search: Of the goal "best", every run in order and the best so far; else none.
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
    deploy: str = ""
    objective: Objective = Objective()
    start: Trial = field(default_factory=Trial)
    candidates: tuple[Trial, ...] = ()
    recommendation: Recommendation | None = None
    trade: tuple[TradePoint, ...] = ()
    search: tuple[SearchStep, ...] = ()
    statistics: IntervalMethod = IntervalMethod()
    conditions: PilotConditions = field(default_factory=PilotConditions)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The start and the candidates."""
        return (self.start, *self.candidates)

    def better_elsewhere(self) -> tuple[str, float, float] | None:
        """The best that needs no training and cannot be deployed, where it is above what can.

        Its name, its mean accuracy on validation rows, and that of what is recommended.
        """
        chosen = next((t for t in self.trials if t.name == self._recommended), None)
        if chosen is None or self.objective.name not in ("within-class", "downstream"):
            return None
        reached = chosen.scores(self.layer).get("objective")
        free = {
            trial.name: trial.scores(self.layer).get("objective", 0.0)
            for trial in self.candidates
            if trial.kind == "free" and not trial.deployable
        }
        best = max(free, key=lambda name: free[name], default="")
        if reached is None or not best or free[best] <= reached:
            return None
        return best, free[best], reached

    @property
    def _recommended(self) -> str:
        return "" if self.recommendation is None else self.recommendation.trial

    def table(self) -> list[dict[str, Any]]:
        """A row per setting, start first: what a data frame takes."""
        return [_row(trial, self.layer) for trial in self.trials]

    def card(self) -> Card:
        """The verdict with its reasons; a row for every setting, a bar for every gain."""
        chosen = self.recommendation
        title = self.verdict if chosen is None else f"{self.verdict}: {chosen.trial}"
        reasons = tuple(f"{reason.code}: {reason.text}" for reason in self.reasons)
        bars = tuple(Bar.of(each.name, each.gain) for each in self.trials if each.gain is not None)
        axis = "gain over the start, validation rows"
        return Card(title, reasons, tuple(self.table()), axis, bars)


def _row(trial: Trial, layer: str) -> dict[str, Any]:
    predicted, gain, means = trial.prediction, trial.gain, trial.scores(layer)
    return {
        "setting": trial.name,
        "kind": trial.kind,
        "layer": trial.layer or layer,
        "deployable": trial.deployable,
        "status": trial.status,
        "size": trial.size,
        "predicted_variance": predicted and predicted.instance_variance,
        "network_variance": predicted and predicted.network and predicted.network.estimate,
        "measured_variance": means.get("instance_variance"),
        "objective": means.get("objective"),
        "task": means.get("task"),
        "gain": gain and gain.estimate,
        "gain_low": gain and gain.low,
        "gain_high": gain and gain.high,
        "runs": len(trial.runs),
        "epochs": trial.runs[-1].epochs if trial.runs else None,
        "seconds": trial.seconds,
    }
