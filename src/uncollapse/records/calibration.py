"""What trained networks of one kind showed, the constants fitted to it, and what they foretell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from uncollapse.errors import InputError
from uncollapse.records import scalars
from uncollapse.records.codec import Document, Part
from uncollapse.records.reading import read_yaml
from uncollapse.records.run import EpochLine, RunRecord
from uncollapse.records.setting import Setting

ConstantName = Literal["progress", "agreement", "dimension", "unlearned"]
CONSTANTS: tuple[ConstantName, ...] = get_args(ConstantName)
# Of a configuration, what constants depend on and a setting does not hold.
Circumstance = Literal["data", "augmentation", "encoder", "head", "optimiser"]


@dataclass(frozen=True, kw_only=True)
class NetworkRun(Part):
    """What one trained network showed, on rows that it was not trained on.

    Attributes:
        setting: Loss, data and batch that it was trained with.
        steps: Steps of the optimiser.
        within_class_variance: Unbiased variance of unit embeddings inside classes, mean over
            classes, one row per instance (so the views' part of it is in).
        between_class_variance: Total variance less that.
        within_before, between_before: The same before the first step; None where unknown.
        layer: Layer of the embeddings.
        source: Where it comes from.
        circumstances: What constants depend on beside the setting (`circumstances_of`); empty where
            it is not known.

    Examples:
        >>> from uncollapse import Setting
        >>> setting = Setting(classes=2, per_class=500, alpha=0.2, temperature=0.1)
        >>> run = NetworkRun(
        ...     setting=setting, steps=300, within_class_variance=0.1, between_class_variance=0.6
        ... )
        >>> run.within_before is None
        True
    """

    setting: Setting
    steps: scalars.PositiveCount
    within_class_variance: scalars.Portion
    between_class_variance: scalars.Portion
    within_before: scalars.Portion | None = None
    between_before: scalars.Portion | None = None
    layer: str = "projector"
    source: str = ""
    circumstances: dict[Circumstance, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Constant(Part):
    """A constant with the interval in which the runs leave it.

    Attributes:
        determined: Whether the runs say much more of it than what is usual without any.
        held: Whether it was given instead of fitted.
    """

    name: ConstantName
    estimate: scalars.NotNegative
    low: scalars.NotNegative
    high: scalars.NotNegative
    determined: bool
    held: bool = False


@dataclass(frozen=True, kw_only=True)
class NextRun(Part):
    """The run that would say most about the others.

    Attributes:
        alpha, temperature, batch_size: Its setting; of a balanced batch, instances of a class.
        remaining: Variance of the predictions left after it, as a part of that before it.
    """

    alpha: scalars.Fraction
    temperature: scalars.Positive
    batch_size: scalars.PositiveCount | None = None
    remaining: scalars.Portion


@dataclass(frozen=True, kw_only=True)
class Calibration(Document):
    """Constants of one kind of network, fitted to its runs (`uncollapse.theory.calibrate`).

    Attributes:
        constants: Progress (time of the flow at `steps` steps and temperature 0.1), agreement (part
            of the variance between classes that the rows' labels show), dimension (of residuals)
            and unlearned (part of the labels' disagreement that training rows show too).
        confidence: Of the intervals.
        steps: Steps of the first run, for which is predicted.
        within_before, between_before: Variances before the first step.
        discrepancy: Deviation, in logits of a variance, of networks from the model.
        draws: Constants as the runs leave them possible, in their order, each of equal weight.
        runs: What it was fitted to.
        following: The run that would say most about others; None where none was asked for.
        notes: What the reader must know to use it.

    Examples:
        >>> from uncollapse import Setting, calibrate
        >>> setting = Setting(class_counts=[500, 500], alpha=0.01, temperature=0.1)
        >>> run = NetworkRun(
        ...     setting=setting, steps=300, within_class_variance=0.02, between_class_variance=0.3
        ... )
        >>> calibration = calibrate([run])
        >>> [constant.name for constant in calibration.constants]
        ['progress', 'agreement', 'dimension', 'unlearned']
        >>> Calibration.from_json(calibration.to_json()) == calibration
        True
    """

    kind: ClassVar[str] = "calibration"
    constants: tuple[Constant, ...]
    confidence: scalars.Fraction
    steps: scalars.PositiveCount
    within_before: scalars.Portion
    between_before: scalars.Portion
    discrepancy: scalars.Positive
    draws: tuple[tuple[scalars.NotNegative, ...], ...]
    runs: tuple[NetworkRun, ...]
    following: NextRun | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = tuple(constant.name for constant in self.constants)
        lengths = {len(draw) for draw in self.draws}
        if names != CONSTANTS or lengths != {len(CONSTANTS)} or not self.runs:
            found = f"constants {', '.join(names) or 'none'}, draws of {sorted(lengths)}"
            remedy = "write it again with uncollapse calibrate"
            raise InputError(f"runs, and draws of {', '.join(CONSTANTS)}", found, remedy)


def read_network_run(folder: Path) -> NetworkRun:
    """What a run's folder (`uncollapse train`) says of its end and of its start.

    Raises:
        InputError: No run, one that theory has no setting for or that is not finished, or one
            without measures of validation rows.

    Examples:
        >>> read_network_run(Path("no-such-run"))  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
            ...
        InputError: expected the run.json of a training run
    """
    remedy = "give a folder that `uncollapse train` wrote"
    record = RunRecord.read(folder / "run.json", remedy)
    if record.setting is None:
        raise InputError(
            f"a run whose batches theory knows in {folder}", "none", "calibrate on other runs"
        )
    if record.status != "finished":
        raise InputError(f"a finished run in {folder}", record.status, "train it to its end")
    measured = [line for line in EpochLine.read_all(folder / "metrics.jsonl") if line.measures]
    layer = next((n for n in ("projector", "backbone") if measured and _has(measured[-1], n)), None)
    if layer is None:
        raise InputError(
            f"measures of validation rows in metrics.jsonl of {folder}",
            "none",
            "leave rows for validation in data.split, and train again",
        )
    within, between = _variances(measured[-1].numbers, layer)
    before = _variances(record.before, layer) if record.before else (None, None)
    return NetworkRun(
        setting=record.setting,
        steps=measured[-1].step,
        within_class_variance=within,
        between_class_variance=between,
        within_before=before[0],
        between_before=before[1],
        layer=layer,
        source=str(folder),
        circumstances=_circumstances(folder, record),
    )


def circumstances_of(config: Mapping[str, Any], fingerprint: str) -> dict[Circumstance, str]:
    """What a calibration depends on, of a run's configuration and its data's fingerprint.

    Examples:
        >>> config = {"views": {"count": 2, "augmentation": "weak"}, "head": {"layers": 2}}
        >>> circumstances_of(config, "a1")
        {'data': 'a1', 'augmentation': '"weak"', 'head': '{"layers": 2}'}
    """
    views = config.get("views") or {}
    parts: dict[Circumstance, Any] = {"augmentation": views.get("augmentation")}
    blocks: tuple[Circumstance, ...] = ("encoder", "head", "optimiser")
    parts |= {name: config.get(name) for name in blocks}
    known = {k: json.dumps(v, sort_keys=True) for k, v in parts.items() if v is not None}
    return {"data": fingerprint, **known}


def _circumstances(folder: Path, record: RunRecord) -> dict[Circumstance, str]:
    """Those of a run's folder; of one without its configuration the data alone."""
    path = folder / "config.yaml"
    config = read_yaml(path, "a configuration", "restore the file") if path.is_file() else {}
    return circumstances_of(config if isinstance(config, dict) else {}, record.data.fingerprint)


def _has(line: EpochLine, layer: str) -> bool:
    return f"{layer}/instance_variance" in line.numbers and f"{layer}/share" in line.numbers


def _variances(numbers: dict[str, Any], layer: str) -> tuple[float, float]:
    """Within and between classes, from the variance and its share of the total."""
    within, share = numbers[f"{layer}/instance_variance"], numbers[f"{layer}/share"]
    within = min(max(within, 0.0), 1.0)
    between = within / share - within if share > 0 else 0.0
    return within, min(max(between, 0.0), 1.0 - within)
