"""The `loss:` block of a configuration."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from uncollapse.data import Strict
from uncollapse.records import AnchorsWithoutPositives, Reduction, SelfPairs

# YAML writes 1 where a fraction is meant, and 1e-4 without a dot is text to it.
YamlNumber = Annotated[float, Field(strict=False)]
Bounds = Annotated[tuple[YamlNumber, YamlNumber], Field(strict=False)]
KeepFrom = Literal["input", "stored", "base", "backbone", "self-supervised"]


# What theory knows of the loss; a module's arguments of the same names.
_OF_THEORY = ("alpha", "temperature", "self_pairs", "reduction", "anchors_without_positives")


class AlphaSchedule(Strict):
    """`loss.alpha_schedule`: from another alpha to `loss.alpha`, in the first epochs.

    Attributes:
        start: Alpha of the first step.
        epochs: How long it takes; `loss.alpha` from there on.
        shape: "linear", or "cosine" (slow at both ends).
    """

    start: Annotated[YamlNumber, Field(ge=0, le=1)]
    epochs: Annotated[YamlNumber, Field(gt=0)]
    shape: Literal["linear", "cosine"] = "linear"

    def at(self, epochs: float, alpha: float) -> float:
        """Alpha after some epochs, where it ends at `alpha`."""
        done = min(1.0, epochs / self.epochs)
        if self.shape == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        return self.start + (alpha - self.start) * done


class LossConfig(Strict):
    """The `loss:` block; see `uncollapse.losses.SupCLLoss` and docs/conventions.md.

    Attributes:
        keep: Weight of 1 - retention inside the classes, against the reference; 0 leaves it out.
        reference: "input" (the row as the encoder receives it, images averaged down to 32 pixels a
            side), "stored" (`data.reference`), "base" (the backbone with its pretrained weights, as
            it was before training), "backbone" (the run's own, at each step), "self-supervised"
            (the backbone of a run with alpha 1, which is made first).
        base: Of reference "base": a file with other weights for it than `encoder.weights`.
        learn_temperature: The least and the largest temperature, between which it is trained with
            the encoder from `temperature` on; None: it stays.
        alpha_schedule: How alpha comes to `alpha`; None: it is that from the first step.
    """

    alpha: Annotated[YamlNumber, Field(ge=0, le=1)]
    temperature: Annotated[YamlNumber, Field(ge=1e-3, le=1e3)]
    self_pairs: SelfPairs = "exclude"
    reduction: Reduction = "anchors"
    anchors_without_positives: AnchorsWithoutPositives = "drop"
    keep: Annotated[YamlNumber, Field(ge=0, le=1e6)] = 0.0
    reference: KeepFrom | None = None
    base: str | None = None
    learn_temperature: Bounds | None = None
    alpha_schedule: AlphaSchedule | None = None

    @model_validator(mode="after")
    def _keep_has_a_reference(self) -> LossConfig:
        if self.keep and self.reference is None:
            names = ", ".join(get_args(KeepFrom))
            raise ValueError(f"keep > 0 needs loss.reference, one of {names}")
        if self.base is not None and self.reference != "base":
            raise ValueError("loss.base belongs to reference: base")
        if self.learn_temperature is not None:
            low, high = self.learn_temperature
            if not 1e-3 <= low <= self.temperature <= high <= 1e3:
                raise ValueError(
                    "learn_temperature needs 0.001 <= least <= loss.temperature <= largest <= 1000"
                )
        return self

    def supcl(self) -> dict[str, Any]:
        """What theory knows of it: the loss without keep, as it starts and as alpha ends."""
        return {name: getattr(self, name) for name in _OF_THEORY}
