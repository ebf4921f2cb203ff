"""A pilot's trials: settings, what their runs reached, and where they stand in the trade."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Self

from uncollapse.records import scalars
from uncollapse.records.codec import Document, Part
from uncollapse.records.network import Expected
from uncollapse.records.prediction import Phase
from uncollapse.records.reading import read_json
from uncollapse.records.run import SettingChange
from uncollapse.records.scalars import Interval
from uncollapse.records.verdict import Verdict

# By layer, the mean of each score over seeds.
Means = dict[str, dict[str, float]]


@dataclass(frozen=True)
class LayerScores(Part):
    """What one run reached at one layer, on rows that it was not trained on."""

    # Unbiased, on unit vectors, and its share of the total; None where it does not exist.
    instance_variance: scalars.Variance | None = None
    share: float | None = None
    verdict: Verdict = "cannot-tell"
    task: scalars.Portion | None = None  # accuracy of the training label by a linear probe
    # Balanced accuracy on other data, by their names.
    downstream: dict[str, scalars.Portion] = field(default_factory=dict)
    objective: scalars.AboveChance | None = None  # what the pilot maximises
    # Of the structure inside the classes, what is still there of each reference.
    retention: dict[str, scalars.AboveChance] = field(default_factory=dict)
    # An instance's other view found first in its class, where retention judges; else not measured.
    other_view: scalars.AboveChance | None = None


@dataclass(frozen=True, kw_only=True)
class TrialRun(Part):
    """One run of a setting: scores by layer, mean loss of the last epoch, epochs, seconds."""

    seed: scalars.Count
    measured: dict[str, LayerScores]
    loss: float | None = None
    epochs: scalars.Count | None = None
    seconds: scalars.NotNegative = 0.0


@dataclass(frozen=True, kw_only=True)
class TrialFile(TrialRun, Document):
    """The file that a run leaves in its folder, so that nobody need run it again.

    Of the present setting it also holds what its free alternatives reached (`free`).
    """

    kind: ClassVar[str] = "trial"
    free: dict[str, LayerScores] = field(default_factory=dict)

    @property
    def run(self) -> TrialRun:
        """What the pilot's record keeps of it."""
        return TrialRun(
            seed=self.seed,
            measured=self.measured,
            loss=self.loss,
            epochs=self.epochs,
            seconds=self.seconds,
        )

    @classmethod
    def read(cls, path: Path, remedy: str = "take it out, and its run is measured again") -> Self:
        """The record in a JSON file; the first ones had their seed in the folder's name alone."""
        record = read_json(path, "a trial", remedy)
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
    """What theory says of a setting, in short, and what is expected of a network like one's own.

    The latter is its variance inside classes; None without a calibration.
    """

    phase: Phase
    instance_variance: scalars.Portion
    within_class_variance: scalars.Portion | None = None
    network: Expected | None = None


TrialStatus = Literal["waiting", "complete", "pruned", "failed", "predicted-collapse"]
TrialKind = Literal["setting", "free"]


@dataclass(frozen=True, kw_only=True)
class Trial(Part):
    """A setting, or a free alternative to the present one: what is predicted, what runs reached.

    The size of a change is |difference| of alpha, |log2 ratio| of temperature, batch and views,
    steps of augmentation; 0 of what is free. `gain` and `task_change` are the differences to the
    start, of objective and training task; None where they were not compared.
    """

    name: str = "start"  # of its folder too
    kind: TrialKind = "setting"  # "free" needs no training beside the start's
    layer: str = ""  # the entry of `measured` where it is judged; "" for the pilot's layer
    deployable: bool = True  # by what the user can deploy
    change: tuple[SettingChange, ...] = ()
    size: scalars.NotNegative | None = None
    prediction: PredictedVariance | None = None  # None where theory refuses the setting
    note: str = ""  # what theory does not say
    status: TrialStatus = "waiting"
    reason: str | None = None  # why it is not complete
    seconds: scalars.NotNegative = 0.0
    runs: tuple[TrialRun, ...] = ()  # one per seed
    mean: Means | None = None  # of their scores
    gain: Interval | None = None
    task_change: Interval | None = None

    def scores(self, layer: str) -> dict[str, float]:
        """Mean scores where it is judged, which is this layer unless it has one of its own."""
        return (self.mean or {}).get(self.layer or layer, {})

    def scores_by_seed(self, layer: str) -> list[LayerScores]:
        """Scores of each run where it is judged."""
        at = self.layer or layer
        return [run.measured[at] for run in self.runs if at in run.measured]


@dataclass(frozen=True, kw_only=True)
class SearchStep(Part):
    """A run of a search and where it stands after it; the start is the first step.

    `best` is the trial with the largest objective so far among those that lose no more than the
    margin of the training label, and `gain` how far that is above the start: differences of single
    runs on validation rows, by which the search goes on, and no proof.
    """

    trial: str
    change: tuple[SettingChange, ...] = ()
    objective: float | None = None  # None of a run that failed
    task: float | None = None
    best: str = "start"
    gain: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TradePoint(Part):
    """A setting at a layer: what it keeps (`objective`), what it was trained for (`task`).

    On the front is what can be deployed and has no other such point at least as good in both and
    better in one; of points with as many runs as the start.
    """

    trial: str
    layer: str
    kind: TrialKind = "setting"
    objective: float
    task: float
    runs: scalars.Count
    deployable: bool = True
    front: bool = False
