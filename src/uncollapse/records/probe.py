"""How the probes are run and what they read, as records."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import InitVar, dataclass, field, replace
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np

from uncollapse.errors import InputError
from uncollapse.records import scalars
from uncollapse.records.codec import Part, check_fields
from uncollapse.records.measurement_parts import NeighbourIndex, WithinClassOptions
from uncollapse.records.notebook import Bar, Card, InNotebook, columns
from uncollapse.records.scalars import Label, Score

_PROBES = ("linear", "knn", "few-shot")
PROBES = (*_PROBES, *(f"within-class {name}" for name in _PROBES))
_WITHIN = WithinClassOptions()


@dataclass(frozen=True)
class ProbeOptions(Part):
    """How probes are run.

    Attributes:
        l2: Penalties of the linear probe to choose from (of the mean loss on scaled features).
        balanced: Whether classes weigh the same in the linear probe's loss; else rows do.
        refit: Whether linear probe and neighbours use training and validation rows together once
            the hyperparameters are chosen.
        neighbours: Numbers of neighbours to choose from; inside classes too, where they are given
            and `within` is not.
        temperatures: Temperatures of their weights exp(cosine/temperature), likewise.
        shots: Training rows per class of the few-shot probe; None: those of 1, 5 and 10 that every
            class has.
        draws: Draws of the shots, from 2.
        within: Of the probe inside classes.
        probes: Which to run.
        tolerance: Largest slope of the linear probe's objective at which it is taken as optimal.
        confidence: Confidence of every interval, between 0 and 1.
        folds, strengths, permutations, most_rows, least_units, margin, index: Of `within`, to be
            given without it.

    Examples:
        >>> ProbeOptions(shots=(1, 5), permutations=0).within.permutations
        0
    """

    l2: tuple[scalars.Positive, ...] = tuple(float(v) for v in np.logspace(-7, 2, 45))
    balanced: bool = False
    refit: bool = True
    neighbours: tuple[scalars.PositiveCount, ...] = (1, 5, 10, 20, 50, 100, 200)
    temperatures: tuple[scalars.Positive, ...] = (0.02, 0.07, 0.2, 1.0)
    shots: tuple[scalars.PositiveCount, ...] | None = None
    draws: scalars.PositiveCount = 20
    within: WithinClassOptions = _WITHIN
    probes: tuple[str, ...] = PROBES
    tolerance: scalars.NotNegative = 1e-5
    confidence: scalars.Fraction = 0.95
    folds: InitVar[int | None] = None
    strengths: InitVar[tuple[float, ...] | None] = None
    permutations: InitVar[int | None] = None
    most_rows: InitVar[int | None] = None
    least_units: InitVar[int | None] = None
    margin: InitVar[float | None] = None
    index: InitVar[NeighbourIndex | None] = None

    def __post_init__(self, *of_within: Any) -> None:
        with suppress(TypeError):
            self._check()
        check_fields(self)
        # From JSON none of them comes, since they are no fields.
        given = dict(zip(_OF_WITHIN, of_within, strict=False))
        if self.within is _WITHIN:
            for name in ("neighbours", "temperatures"):
                # Identity tells what was given from the default, though it be equal.
                if self[name] is not getattr(ProbeOptions, name):
                    given[name] = self[name]
        given = {name: value for name, value in given.items() if value is not None}
        if given:
            object.__setattr__(self, "within", replace(self.within, **given))

    def _check(self) -> None:
        if not isinstance(self.within, WithinClassOptions):
            raise InputError("within as WithinClassOptions", f"{self.within!r}", "make them")
        if min(self.l2, default=0) <= 0:
            raise InputError("L2 penalties above 0", f"{self.l2}", "1e-7 to 100 is usual")
        if min(self.neighbours, default=0) < 1 or min(self.temperatures, default=0) <= 0:
            raise InputError(
                "neighbours of 1 or more and temperatures above 0",
                f"{self.neighbours} and {self.temperatures}",
                "leave them at their defaults",
            )
        if self.shots is not None and min(self.shots, default=0) < 1:
            raise InputError("shots of 1 or more", f"{self.shots}", "1, 5 and 10 are usual")
        if unknown := set(self.probes) - set(PROBES):
            raise InputError(
                f"probes among {', '.join(PROBES)}", f"{sorted(unknown)}", "name these"
            )
        if self.draws < 2:
            raise InputError("two draws or more", f"{self.draws}", "20 is usual")
        scalars.check_confidence(self.confidence)


_OF_WITHIN = ("folds", "strengths", "permutations", "most_rows", "least_units", "margin", "index")
for _name in _OF_WITHIN:
    # Read, it is the option of `within`. As no field: else `dataclasses.replace` would hand that
    # value on as if it were given, and it would win over the `within` that is put in its place.
    del ProbeOptions.__dataclass_fields__[_name]
    setattr(ProbeOptions, _name, property(attrgetter(f"within.{_name}")))

# Its name in `uncollapse.probes` before the two were one.
ProbeSettings = ProbeOptions


class _WhatApplies(Part):
    """A record whose JSON leaves out what does not apply (None)."""

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, without keys that do not apply."""
        return {key: value for key, value in super().to_dict().items() if value is not None}


@dataclass(frozen=True)
class ChosenValues(_WhatApplies):
    """Hyperparameters that were chosen on the validation split."""

    l2: scalars.Positive | None = None  # penalty of the linear probe
    neighbours: scalars.PositiveCount | None = None
    temperature: scalars.Positive | None = None  # of the neighbours' weights
    strength: scalars.Positive | None = None  # inverse penalty of the linear probe inside a class


@dataclass(frozen=True)
class ClassReading(_WhatApplies):
    """What one probe read inside one class.

    Accuracies are those on the test split; `validation` is the chance-corrected one on the
    validation split at the hyperparameters that were chosen.
    """

    label: Label
    fine_labels: scalars.Count  # chance is 1/fine_labels
    test_rows: scalars.Count
    balanced_accuracy: scalars.Portion
    chance_corrected: scalars.AboveChance
    accuracy: scalars.Portion | None = None
    chosen: ChosenValues | None = None
    validation: scalars.AboveChance | None = None


@dataclass(frozen=True)
class ReadingDetails(_WhatApplies):
    """What there is to say of few shots, and of a probe inside classes."""

    shots: scalars.PositiveCount | None = None  # training rows per class
    draws: scalars.PositiveCount | None = None  # of the shots
    deviation: scalars.NotNegative | None = None  # of balanced accuracy between draws
    interval: str | None = None  # what the interval is
    classes: tuple[ClassReading, ...] | None = None  # that were probed
    skipped_classes: scalars.Count | None = None  # without enough finer labels


@dataclass(frozen=True)
class ProbeReading(Part):
    """What one probe read of one target at one layer.

    Attributes:
        probe: One of `PROBES`: "linear", "within-class knn", ...
        score: On the test split.
        validation: Balanced accuracy on the validation split at what was chosen there (inside
            classes: chance-corrected, mean over them); None where nothing was chosen.
    """

    probe: str
    score: Score
    chosen: ChosenValues = field(default_factory=ChosenValues)
    validation: scalars.AboveChance | None = None
    details: ReadingDetails = field(default_factory=ReadingDetails)

    @property
    def name(self) -> str:
        """The probe, with its number of shots."""
        shots = self.details.shots
        return self.probe if shots is None else self.probe.replace("few", str(shots))


@dataclass(frozen=True)
class SplitSizes(_WhatApplies):
    """Rows by split, and how many rows lack the target."""

    train: scalars.Count
    validation: scalars.Count
    test: scalars.Count
    missing: scalars.Count | None = None


@dataclass(frozen=True)
class TargetProbe(Part):
    """What was read of one target at one layer.

    `data` is the name of the data set, "" for the one that the encoder was trained for; `sizes` are
    the rows that take part, and the rows without this target; `notes` the reader must know.
    """

    data: str
    layer: str
    target: str
    role: str  # "label", "fine", "slice" or "target"
    classes: scalars.Count  # labels among the training rows; chance is 1/classes
    sizes: SplitSizes
    readings: tuple[ProbeReading, ...]
    notes: tuple[str, ...] = ()

    def reading(self, probe: str, shots: int | None = None) -> ProbeReading:
        """The reading of one probe; a KeyError where it does not apply."""
        for reading in self.readings:
            if reading.probe == probe and shots in (None, reading.details.shots):
                return reading
        raise KeyError(probe)


@dataclass(frozen=True)
class ProbedData(Part):
    """A data set that was probed: its training label's column, its splits, those cut off here."""

    name: str  # "" for the one that the encoder was trained for
    label: str | None
    unit: str  # what was drawn independently: "row", "instance" or "group"
    rows: SplitSizes
    cut_here: tuple[str, ...]


@dataclass(frozen=True)
class ProbeConditions(Part):
    """Under which was probed."""

    seed: scalars.Count  # of splits cut here, shots and subsamples
    data: tuple[ProbedData, ...]
    chosen_by: str  # what chose the hyperparameters
    fitted_on: str  # splits that the tested probes were fitted on
    interval: str  # what the intervals are
    settings: ProbeOptions


@dataclass(frozen=True, repr=False)
class ProbeResult(InNotebook):
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
        0.9286 [0.6433, 0.9874]
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

    def card(self) -> Card:
        """A row and a bar for every reading."""
        read = [(target, reading) for target in self.targets for reading in target.readings]
        rows = tuple(
            {"data": target.data, "layer": target.layer, "target": target.target}
            | {"role": target.role, "probe": each.probe, "shots": each.details.shots}
            | columns("accuracy", each.score.accuracy)
            | columns("balanced_accuracy", each.score.balanced_accuracy)
            | columns("chance_corrected", each.score.chance_corrected)
            for target, each in read
        )
        bars = tuple(
            Bar.of(
                " ".join(filter(None, (target.data, target.layer, target.target, each.name))),
                each.score.chance_corrected,
            )
            for target, each in read
        )
        layers = dict.fromkeys(target.layer for target in self.targets)
        title = f"{len(read)} readings of {', '.join(layers)}"
        chosen = f"chosen by {self.conditions.chosen_by}, fitted on {self.conditions.fitted_on}"
        return Card(title, (chosen,), rows, "balanced accuracy above chance, test rows", bars)
