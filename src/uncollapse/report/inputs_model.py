"""What a report speaks of: cases (a run, a measurement, a file of embeddings) and their parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uncollapse import records
from uncollapse.report.rows_model import Looks, Points
from uncollapse.tables import Columns, ReferenceFiles


@dataclass(frozen=True)
class ReportOptions:
    """What a report reads of embeddings.

    Attributes:
        columns: What is where in files that do not say it themselves.
        reference: Another embedding of the same rows, that the judged layer is held against.
        layer: Layer that it is about. [default: the projector where there is one]
        sample: Rows that a picture shows at most.
        seed: Seed of the rows in pictures and of measurements made here.
        intended_use: What the embedding is for, for the auditor.
        deployed_layer: The layer that is deployed, for the auditor.
        approver: Who answers for the decision, for the auditor.

    Examples:
        >>> import numpy as np
        >>> from tempfile import TemporaryDirectory
        >>> from uncollapse import Columns, build_report
        >>> labels = np.repeat([0, 1, 2], 50)
        >>> options = ReportOptions(columns=Columns(embedding="z", label="kind"), sample=100)
        >>> with TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/rows.npz", z=np.eye(3, 16)[labels], kind=labels)
        ...     build_report([f"{folder}/rows.npz"], options=options).decision.verdict
        'collapsed'
    """

    columns: Columns = field(default_factory=Columns)
    reference: ReferenceFiles = field(default_factory=ReferenceFiles)
    layer: str | None = None
    sample: int = 1500
    seed: int = 0
    intended_use: str = ""
    deployed_layer: str = ""
    approver: str = ""


@dataclass(frozen=True)
class Source(records.Part):
    """A file that was read: its path as it was given, its size and the hash of its bytes."""

    path: str
    # "measurement", "comparison", "probe", "prediction", "run", "embeddings", "pilot", "rows" or
    # "calibration".
    kind: str
    bytes: int
    sha256: str


def known_layer(layer: str | None) -> str:
    """A layer that there are words for; "" for others."""
    return layer if layer in ("projector", "backbone") else ""


@dataclass(frozen=True)
class Measured(records.Part):
    """A measurement, the file it comes from, and layer and split ("" where they are not known).

    A streamed one was made here in one pass, without probe, slices and nulls.
    """

    source: str
    layer: str
    split: str
    measurement: records.Measurement
    streamed: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)  # by role, where they were read here

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types; the measurement, without its rows' influences, is called "found"."""
        record = super().to_dict()
        record["found"] = record.pop("measurement") | {"influences": None}
        return record


@dataclass
class Case(records.Part):
    """One thing that was judged: a run, a measurement, a file of embeddings.

    Attributes:
        name: For the reader.
        kind: "run", "trial" (a pilot's run), or the kind of its record.
        config: The run's configuration by dotted keys.
        history: Lines of its metrics.jsonl.
        measured: Measurements, the deployed layer first.
        points: Pictures by layer; of the first run where there are several.
        runs: The runs that it is the mean of, which differ in their seed alone; none where it is
            one run.
        calibration: Of networks like the run's, for what is advised; None without one.
        looks: Rows that are worth a look; None without their table.
    """

    name: str
    kind: str
    run: records.RunRecord | None = None
    config: Mapping[str, object] = field(default_factory=dict)
    history: list[records.EpochLine] = field(default_factory=list)
    prediction: records.Prediction | None = None
    measured: list[Measured] = field(default_factory=list)
    probes: list[records.ProbeResult] = field(default_factory=list)
    points: dict[str, Points] = field(default_factory=dict)
    runs: list[Case] = field(default_factory=list)
    calibration: records.Calibration | None = None
    looks: Looks | None = None

    @property
    def each(self) -> list[Case]:
        """Its runs, or itself."""
        return self.runs or [self]

    @property
    def setting(self) -> records.Setting | None:
        """The run's setting."""
        return None if self.run is None else self.run.setting

    @property
    def seconds(self) -> float | None:
        """Training time of a run, which its journal adds up; None where it is not recorded."""
        return self.history[-1].seconds if self.history else None

    def to_dict(self) -> dict[str, Any]:
        """All but the points of the picture and a calibration's draws, as plain JSON types."""
        record = super().to_dict()
        del record["calibration"]
        record["pictures"] = list(record.pop("points").values())
        return record


@dataclass
class ReportInputs(records.Part):
    """Everything that was read; the first case is "before", the last "after"."""

    cases: list[Case] = field(default_factory=list)
    comparisons: list[records.Comparison] = field(default_factory=list)
    pilot: records.PilotResult | None = None
    stress: records.StressResult | None = None
    sources: list[Source] = field(default_factory=list)
    calibration: records.Calibration | None = None  # of all runs that have none of their own

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types, without a calibration's draws: its file is among the sources."""
        record = super().to_dict()
        del record["calibration"]
        return record

    @property
    def sides(self) -> list[Case]:
        """The first and the last case: of a pilot's runs, or of the others where there are two."""
        trials = [case for case in self.cases if case.kind == "trial"]
        cases = trials if self._of_pilot(trials) else self.given
        return cases if len(cases) < 2 else [cases[0], cases[-1]]

    @property
    def given(self) -> list[Case]:
        """All cases but the runs of a pilot."""
        return [case for case in self.cases if case.kind != "trial"]

    @property
    def shown(self) -> list[Case]:
        """The cases that tables list: a pilot's runs only where they say more than the others."""
        trials = [case for case in self.cases if case.kind == "trial"]
        return self.cases if self._of_pilot(trials) else self.given

    def _of_pilot(self, trials: Sequence[Case]) -> bool:
        """Whether a pilot's runs are compared: two of them, or nothing else is there."""
        return len(self.given) < 2 and len(trials) > min(1, len(self.given))

    @property
    def measured(self) -> list[Measured]:
        """Every measurement of every case."""
        return [measured for case in self.cases for measured in case.measured]

    @property
    def runs(self) -> list[Case]:
        """Every run of every case."""
        return [run for case in self.cases for run in case.each]

    @property
    def level(self) -> float | None:
        """Of all intervals; None where the inputs differ in it, 0.95 where none says it."""
        levels = {None if self.pilot is None else self.pilot.statistics.level}
        levels |= {None if self.stress is None else self.stress.conditions.confidence}
        for run in self.runs:
            levels |= {m.measurement.conditions.confidence for m in run.measured}
            levels |= {probe.conditions.settings.confidence for probe in run.probes}
        levels -= {None}
        if len(levels) > 1:
            return None
        return levels.pop() if levels else 0.95


def confirmation(pilot: records.PilotResult) -> records.Confirmation | None:
    """What the test split says of the recommended setting; None where there was no such test."""
    return None if pilot.recommendation is None else pilot.recommendation.confirmed


def compared(pilot: records.PilotResult) -> str | None:
    """The setting that stands beside the start: the recommended one, else the best finished one."""
    if pilot.recommendation is not None:
        return pilot.recommendation.trial
    gains = {trial.name: trial.gain.estimate for trial in pilot.trials if trial.gain is not None}
    return max(gains, key=lambda name: gains[name]) if gains else None


def shown_runs(pilot: records.PilotResult | None) -> list[Path]:
    """Folders of one run of the start and of the setting beside it, as they were confirmed."""
    seeds = () if pilot is None else (confirmation(pilot) or pilot.conditions).seeds
    if pilot is None or not seeds:
        return []
    names = [name for name in (pilot.start.name, compared(pilot)) if name is not None]
    return [Path("trials") / Path(name).name / f"seed-{seeds[0]}" for name in names]
