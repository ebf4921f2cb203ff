"""What the probes found, as a record that goes to JSON and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from uncollapse.records.codec import Count, Document, Part, Positive, PositiveCount
from uncollapse.records.estimate import Score
from uncollapse.records.probe_options import ProbeOptions


class _WhatApplies(Part):
    """A record whose JSON leaves out what does not apply (None)."""

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, without keys that do not apply."""
        return {key: value for key, value in super().to_dict().items() if value is not None}


@dataclass(frozen=True)
class ChosenValues(_WhatApplies):
    """Hyperparameters that were chosen on the validation split.

    Attributes:
        l2: Penalty of the linear probe.
        neighbours, temperature: Of the nearest neighbours.
        strength: Inverse penalty of the linear probe inside a class.
    """

    l2: Positive | None = None
    neighbours: PositiveCount | None = None
    temperature: Positive | None = None
    strength: Positive | None = None


@dataclass(frozen=True)
class ClassReading(_WhatApplies):
    """What one probe read inside one class.

    Attributes:
        label: Of the class.
        fine_labels: How many finer labels it has; chance is 1/fine_labels.
        test_rows: How many rows it was tested on.
        chosen: Hyperparameters; None where there are none.
        validation: Chance-corrected accuracy on the validation split at these.
        accuracy, balanced_accuracy, chance_corrected: On the test split.
    """

    label: bool | int | float | str
    fine_labels: Count
    test_rows: Count
    balanced_accuracy: float
    chance_corrected: float
    accuracy: float | None = None
    chosen: ChosenValues | None = None
    validation: float | None = None


@dataclass(frozen=True)
class ReadingDetails(_WhatApplies):
    """What there is to say of few shots, and of a probe inside classes.

    Attributes:
        shots: Training rows per class.
        draws: Draws of the shots.
        deviation: Standard deviation of balanced accuracy between draws.
        interval: What the interval is.
        classes: One entry per class that was probed.
        skipped_classes: Classes without enough finer labels.
    """

    shots: PositiveCount | None = None
    draws: PositiveCount | None = None
    deviation: float | None = None
    interval: str | None = None
    classes: tuple[ClassReading, ...] | None = None
    skipped_classes: Count | None = None


@dataclass(frozen=True)
class Reading(Part):
    """What one probe read of one target at one layer.

    Attributes:
        probe: One of `PROBES`: "linear", "within-class knn", ...
        score: On the test split.
        chosen: Hyperparameters, chosen on the validation split.
        validation: Balanced accuracy there at these (inside classes: chance-corrected, mean over
            them); None where nothing was chosen.
        details: Shots and draws; classes of the probe inside classes.
    """

    probe: str
    score: Score
    chosen: ChosenValues = field(default_factory=ChosenValues)
    validation: float | None = None
    details: ReadingDetails = field(default_factory=ReadingDetails)


@dataclass(frozen=True)
class SplitSizes(_WhatApplies):
    """Rows by split, and how many rows lack the target."""

    train: Count
    validation: Count
    test: Count
    missing: Count | None = None


@dataclass(frozen=True)
class TargetProbe(Part):
    """What was read of one target at one layer.

    Attributes:
        data: Name of the data set; "" for the one that the encoder was trained for.
        layer: Name of the layer.
        target: Name of the target.
        role: "label", "fine", "slice" or "target".
        classes: Labels among the training rows; chance is 1/classes.
        sizes: Rows that take part, by split, and rows without this target.
        readings: One per probe.
        notes: What the reader must know.
    """

    data: str
    layer: str
    target: str
    role: str
    classes: Count
    sizes: SplitSizes
    readings: tuple[Reading, ...]
    notes: tuple[str, ...] = ()

    def reading(self, probe: str, shots: int | None = None) -> Reading:
        """The reading of one probe; a KeyError where it does not apply."""
        for reading in self.readings:
            if reading.probe == probe and shots in (None, reading.details.shots):
                return reading
        raise KeyError(probe)


@dataclass(frozen=True)
class ProbedData(Part):
    """A data set that was probed.

    Attributes:
        name: "" for the one that the encoder was trained for.
        label: The training label's column; None without one.
        unit: What was drawn independently: "row", "instance" or "group".
        rows: Rows by split.
        cut_here: Splits that were cut off here.
    """

    name: str
    label: str | None
    unit: str
    rows: SplitSizes
    cut_here: tuple[str, ...]


@dataclass(frozen=True)
class ProbeConditions(Part):
    """Under which was probed.

    Attributes:
        seed: Of splits cut here, shots and subsamples.
        data: One entry per data set.
        chosen_by: What hyperparameters were chosen by.
        fitted_on: Splits that the tested probes were fitted on.
        interval: What the intervals are.
        settings: Of the probes.
    """

    seed: int
    data: tuple[ProbedData, ...]
    chosen_by: str
    fitted_on: str
    interval: str
    settings: ProbeOptions


@dataclass(frozen=True)
class ProbeResult(Document):
    """What frozen embeddings let read, per layer and per target.

    Attributes:
        targets: One entry per data set, layer and target.
        conditions: Seed, splits of each data set, what units are, what the intervals are, options.

    Examples:
        >>> import numpy as np
        >>> from uncollapse import Embedded, probe
        >>> digit = np.arange(200) % 4
        >>> rows = np.eye(4, 8)[digit] + 0.3 * np.random.default_rng(0).standard_normal((200, 8))
        >>> result = probe(Embedded({"z": rows}, {"even": digit % 2, "digit": digit}, label="even"))
        >>> print(result.target("z", "digit").reading("within-class knn").score.chance_corrected)
        0.9286 [0.6642, 0.9865]
    """

    kind: ClassVar[str] = "probe"

    targets: tuple[TargetProbe, ...]
    conditions: ProbeConditions

    def target(self, layer: str, name: str, data: str = "") -> TargetProbe:
        """The entry of one layer and target; a KeyError where there is none."""
        for entry in self.targets:
            if (entry.data, entry.layer, entry.target) == (data, layer, name):
                return entry
        raise KeyError((data, layer, name))
