"""The `loss:` block of a configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from uncollapse.data import Strict
from uncollapse.records import AnchorsWithoutPositives, Reduction, SelfPairs

# YAML writes 1 where a fraction is meant, and 1e-4 without a dot is text to it.
YamlNumber = Annotated[float, Field(strict=False)]
KeepFrom = Literal["input", "stored", "base", "backbone", "self-supervised"]


class LossConfig(Strict):
    """The `loss:` block; see `uncollapse.losses.SupCLLoss` and docs/conventions.md.

    Attributes:
        keep: Weight of 1 - retention inside the classes, against the reference; 0 leaves it out.
        reference: "input" (the row as the encoder receives it, images averaged down to 32 pixels a
            side), "stored" (`data.reference`), "base" (the backbone with its pretrained weights, as
            it was before training), "backbone" (the run's own, at each step), "self-supervised"
            (the backbone of a run with alpha 1, which is made first).
        base: Of reference "base": a file with other weights for it than `encoder.weights`.
    """

    alpha: Annotated[YamlNumber, Field(ge=0, le=1)]
    temperature: Annotated[YamlNumber, Field(ge=1e-3, le=1e3)]
    self_pairs: SelfPairs = "exclude"
    reduction: Reduction = "anchors"
    anchors_without_positives: AnchorsWithoutPositives = "drop"
    keep: Annotated[YamlNumber, Field(ge=0, le=1e6)] = 0.0
    reference: KeepFrom | None = None
    base: str | None = None

    @model_validator(mode="after")
    def _keep_has_a_reference(self) -> LossConfig:
        if self.keep and self.reference is None:
            names = ", ".join(get_args(KeepFrom))
            raise ValueError(f"keep > 0 needs loss.reference, one of {names}")
        if self.base is not None and self.reference != "base":
            raise ValueError("loss.base belongs to reference: base")
        return self

    def supcl(self) -> dict[str, Any]:
        """What theory knows of it: the loss without keep."""
        return {name: value for name, value in self if name not in ("keep", "reference", "base")}
