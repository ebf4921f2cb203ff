"""What a report speaks of: cases (a run, a measurement, a file of embeddings) and their parts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncollapse.metrics import Measurement
from uncollapse.tables import Columns

__all__ = ["Case", "Change", "Inputs", "Measured", "Options", "Points", "Source"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Options:
    """How embeddings are read.

    Attributes:
        columns: What is where in files that do not say it themselves.
        layer: The layer that the report is about; None for the projector where there is one.
        sample: Rows that a picture shows at most.
        seed: Of the rows in the picture, and of the probes' splits.
    """

    columns: Columns = field(default_factory=Columns)
    layer: str | None = None
    sample: int = 1500
    seed: int = 0


@dataclass(frozen=True)
class Source:
    """A file that was read.

    Attributes:
        path: As it was given.
        kind: "measurement", "comparison", "probe", "prediction", "run", "embeddings" or "pilot".
        bytes: Its size.
        sha256: Of its bytes.
    """

    path: str
    kind: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Points:
    """Rows drawn from embeddings, projected for a picture.

    Attributes:
        layer: Where the rows come from.
        x, y: (n,) the first two principal components of all rows.
        u, v: (n,) those of the residuals from the class means.
        shares: Shares of the variance that the four axes hold.
        label, fine, name: (n,) class, finer label ("" without one) and name of each row.
        rows: Rows that were drawn from.
        seed: Of the draw.
        spectrum: Eigenvalues of the pooled covariance inside classes, largest first.
    """

    layer: str
    x: Floats
    y: Floats
    u: Floats
    v: Floats
    shares: tuple[float, float, float, float]
    label: tuple[str, ...]
    fine: tuple[str, ...]
    name: tuple[str, ...]
    rows: int
    seed: int
    spectrum: tuple[float, ...]


@dataclass(frozen=True)
class Measured:
    """A measurement and where it comes from.

    Attributes:
        source: File, and column where there is one.
        layer, split: Of the embeddings; "" where they are not known.
        found: The measurement.
        streamed: Whether it was made here in one pass, without probe, slices and nulls.
    """

    source: str
    layer: str
    split: str
    found: Measurement
    streamed: bool = False


@dataclass(frozen=True)
class Change:
    """One key of the setting, before and after."""

    key: str
    before: Any
    after: Any


@dataclass
class Case:
    """One thing that was judged.

    Attributes:
        name: For the reader.
        kind: "run", "trial" (a pilot's run), "measurement" or "embeddings".
        run: run.json of a run.
        config: Its configuration by dotted keys.
        history: Lines of its metrics.jsonl.
        prediction: What theory says of its setting.
        measured: Measurements, the deployed layer first.
        probes: Records of `uncollapse probe`.
        points: Pictures by layer; of the first run where there are several.
        runs: The runs that it is the mean of, which differ in their seed alone; none where it is
            one run.
    """

    name: str
    kind: str
    run: dict[str, Any] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    prediction: dict[str, Any] | None = None
    measured: list[Measured] = field(default_factory=list)
    probes: list[dict[str, Any]] = field(default_factory=list)
    points: dict[str, Points] = field(default_factory=dict)
    runs: list[Case] = field(default_factory=list)

    @property
    def each(self) -> list[Case]:
        """Its runs, or itself."""
        return self.runs or [self]

    @property
    def setting(self) -> dict[str, Any] | None:
        """The run's setting as run.json has it."""
        return None if self.run is None else self.run.get("setting")

    def to_dict(self) -> dict[str, Any]:
        """All but the points of the picture, as plain JSON types."""
        return {
            "name": self.name,
            "kind": self.kind,
            "run": self.run,
            "config": self.config,
            "history": self.history,
            "prediction": self.prediction,
            "measured": [vars(one) | {"found": one.found.to_dict()} for one in self.measured],
            "probes": self.probes,
            "pictures": [
                {
                    "layer": one.layer,
                    "projection": "principal components",
                    "rows": one.rows,
                    "drawn": len(one.x),
                    "seed": one.seed,
                    "shares": list(one.shares),
                    "spectrum": list(one.spectrum),
                }
                for one in self.points.values()
            ],
            "runs": [run.to_dict() for run in self.runs],
        }


@dataclass
class Inputs:
    """Everything that was read.

    Attributes:
        cases: In the order given; the first is "before", the last "after".
        comparisons: Records of `uncollapse compare`.
        pilot: Record of `uncollapse pilot`.
        sources: The files.
    """

    cases: list[Case] = field(default_factory=list)
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    pilot: dict[str, Any] | None = None
    sources: list[Source] = field(default_factory=list)

    @property
    def sides(self) -> list[Case]:
        """The cases that are shown side by side: the first and the last.

        Beside two cases or more, the runs of a pilot are not among them.
        """
        given = [case for case in self.cases if case.kind != "trial"]
        trials = [case for case in self.cases if case.kind == "trial"]
        cases = trials if trials and len(given) < 2 else given
        return cases if len(cases) < 2 else [cases[0], cases[-1]]

    @property
    def level(self) -> float | None:
        """Of all intervals; None where the inputs differ in it, 0.95 where none says it."""
        given = [(self.pilot or {}).get("statistics"), *self._conditions()]
        levels = {one.get("level", one.get("confidence")) for one in given if one}
        found = {float(level) for level in levels if isinstance(level, int | float)}
        return found.pop() if len(found) == 1 else None if found else 0.95

    def _conditions(self) -> list[dict[str, Any]]:
        runs = self.runs
        measured = [one.found.conditions.to_dict() for run in runs for one in run.measured]
        probes = [
            (one.get("conditions") or {}).get("settings") or {}
            for run in runs
            for one in run.probes
        ]
        return [*measured, *probes]

    @property
    def runs(self) -> list[Case]:
        """Every run of every case."""
        return [run for case in self.cases for run in case.each]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "cases": [case.to_dict() for case in self.cases],
            "comparisons": self.comparisons,
            "pilot": self.pilot,
            "sources": [asdict(source) for source in self.sources],
        }
