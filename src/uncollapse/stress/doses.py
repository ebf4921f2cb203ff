"""From what is asked for to doses: each with the changes of the configuration that it makes."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Any

import numpy as np

from uncollapse.data import LabelledData, ViewsConfig, preset
from uncollapse.errors import InputError
from uncollapse.records import Damage, DamageKind, SettingChange, StressOptions, check_words
from uncollapse.stress import damages
from uncollapse.stress.corruptions import STRENGTHS, check_corruption
from uncollapse.stress.data import values_of
from uncollapse.training import Problem, TrainConfig

AUGMENTATIONS = ("none", "weak", "medium", "strong")
_RATES = {"sgd": 0.05, "adamw": 0.001}
_RESNETS = (18, 34, 50, 101)


def asked(options: StressOptions, data: LabelledData) -> tuple[Damage, ...]:
    """Every dose that is asked for, by kind, the lightest first."""
    found: list[Damage] = []

    def add(kind: DamageKind, doses: list[str], form: str = "") -> None:
        unique = list(dict.fromkeys(doses))
        found.extend(Damage(kind, dose, form, order) for order, dose in enumerate(unique))

    form: str = "" if options.imbalance_form == "exponential" else options.imbalance_form
    add("imbalance", [f"{r:g}" for r in sorted(options.imbalance)], form)
    form = "" if options.noise_form == "symmetric" else options.noise_form
    if (form == "confusion") != bool(options.confusion):
        raise InputError(
            "a confusion matrix with the noise form confusion", "one alone", "give both or neither"
        )
    noise = options.label_noise or ((1.0,) if options.confusion else ())
    add("label-noise", [f"{r:g}" for r in sorted(noise)], form)
    if options.shift is not None:
        add("shift", values_of(data, options.shift), options.shift)
    for name in options.corrupt:
        check_corruption(name, data.inputs.kind)
        add("corrupt", [str(strength) for strength in STRENGTHS], name)
    add("augmentation", sorted(options.augmentation, key=_strength))
    add("rows", [f"{share:g}" for share in sorted(options.rows, reverse=True)])
    add("classes", [str(m) for m in sorted(options.fewer_classes, reverse=True)])
    add("optimiser", list(options.optimiser))
    for kind in ("initialisation", "width", "depth"):
        add(kind, [f"{value:g}" for value in sorted(getattr(options, kind))])
    if not found:
        raise InputError("a damage", "none", "give --imbalance 10 or another option")
    return tuple(found)


def _strength(name: str) -> int:
    """Strong first: less of it is a heavier damage."""
    if name.isdecimal() and int(name) >= 1:
        return -int(name)
    check_words("augmentation", name, AUGMENTATIONS)
    return -100 - AUGMENTATIONS.index(name)


def changes_of(problem: Problem, damage: Damage) -> tuple[SettingChange, ...]:
    """What a damage changes of the configuration itself; none where that is so already."""
    config = problem.config
    found = {
        "augmentation": _augmentation,
        "optimiser": _optimiser,
        "width": _width,
        "depth": _depth,
    }.get(damage.kind)
    return () if found is None else tuple(found(config, damage.dose, problem))


def _augmentation(config: TrainConfig, dose: str, problem: Problem) -> Iterator[SettingChange]:
    now: Any = config.views.augmentation
    after: Any = dose
    if dose.isdecimal():
        image = problem.data.inputs.kind == "image"
        strong = preset("strong", image=image, flip=config.views.flip)
        shape = problem.data.inputs.shape
        usable = [one for one in strong if one.channels in (None, shape[0])]
        if int(dose) > len(usable):
            raise InputError(
                f"at most the {len(usable)} operations of the strong augmentation",
                dose,
                "give fewer",
            )
        after = [{one.name: one.model_dump(mode="json")} for one in usable[: int(dose)]]
        ViewsConfig(augmentation=after, flip=config.views.flip)
    yield SettingChange("views.augmentation", now, after)


def _optimiser(config: TrainConfig, dose: str, problem: Problem) -> Iterator[SettingChange]:
    name, colon, text = dose.partition(":")
    check_words("optimiser", name, tuple(_RATES))
    rate = _RATES[name]
    if colon:
        try:
            rate = float(text)
        except ValueError:
            rate = -1.0
        if not (isfinite(rate) and rate > 0):
            raise InputError("a learning rate above 0", repr(text), "as adamw:0.001")
    yield SettingChange("optimiser.kind", config.optimiser.kind, name)
    yield SettingChange("optimiser.learning_rate", config.optimiser.learning_rate, rate)


def _widths(config: TrainConfig, problem: Problem, key: str) -> tuple[int, ...]:
    if config.encoder.kind not in ("convnet", "mlp"):
        raise InputError(f"an encoder with widths for {key}", config.encoder.kind, "leave it out")
    weights = (p for p in problem.model.backbone.parameters() if p.ndim > 1)
    return config.encoder.widths or tuple(int(weight.shape[0]) for weight in weights)


def _width(config: TrainConfig, dose: str, problem: Problem) -> Iterator[SettingChange]:
    now = _widths(config, problem, "width")
    yield SettingChange("encoder.widths", list(now), list(damages.widths(now, float(dose))))


def _depth(config: TrainConfig, dose: str, problem: Problem) -> Iterator[SettingChange]:
    depth = int(dose)
    if config.encoder.kind == "resnet":
        if depth not in _RESNETS:
            raise InputError("a depth of 18, 34, 50 or 101", dose, "name one of them")
        yield SettingChange("encoder.depth", config.encoder.depth, depth)
    else:
        now = _widths(config, problem, "depth")
        yield SettingChange("encoder.widths", list(now), list(damages.layers(now, depth)))


def fitting(config: TrainConfig, labels: damages.Integers) -> tuple[SettingChange, ...]:
    """What batches have to change so that training rows with these labels can fill them."""
    batch, known = config.batch, labels[labels >= 0]
    counts = np.bincount(known)
    counts = counts[counts > 0]
    if batch.sampler == "shuffled":
        size = batch.size or 256
        if size == "full" or size <= len(labels):
            return ()
        return (SettingChange("batch.size", batch.size, len(labels)),)
    changes = []
    least = int(counts.min())
    if batch.per_class is not None and batch.per_class > least:
        changes.append(SettingChange("batch.per_class", batch.per_class, least))
    if batch.classes is not None and batch.classes > len(counts):
        changes.append(SettingChange("batch.classes", batch.classes, len(counts)))
    return tuple(changes)
