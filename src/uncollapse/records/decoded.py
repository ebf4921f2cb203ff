"""What a value of the loss means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from uncollapse.records.codec import Document, Part

LossName = Literal[
    "supcl", "supcon", "supcontrast", "nt-xent", "sincere", "l-spread", "ssem-cifar",
    "ssem-imagenet",
]  # fmt: skip
LossState = Literal["identical", "random", "collapsed", "optimum"]
LossFactor = Literal["1", "temperature / 0.07", "1 / embeddings"]


@dataclass(frozen=True)
class LossOfState(Part):
    """The loss of embeddings of which one knows how they lie.

    Attributes:
        state: "identical": all embeddings are one point. "random": independent, uniform on the
            sphere. "collapsed": each class is one point, the classes a simplex. "optimum": the
            lowest value that any embeddings of this batch reach.
        loss: Its value under the convention, its factor applied, in nats.
        matches: Whether the given value is this one, to the digits that were given.
    """

    state: LossState
    loss: float
    matches: bool


@dataclass(frozen=True)
class OtherReading(Part):
    """The loss of identical embeddings of another convention, factor or size, equal to the value.

    Attributes:
        convention, factor: Of the loss.
        factor_is: What the factor is made of.
        loss: Its value.
        embeddings: In the batch; None in files of before they were looked at.
    """

    convention: LossName
    factor: float
    factor_is: LossFactor
    loss: float
    embeddings: int | None = None


@dataclass(frozen=True)
class DecodedLoss(Document):
    """What a value of the loss means: the losses of known embeddings of the same batch.

    Attributes:
        value: The value that was given.
        tolerance: Half of its last digit: what counts as equal.
        batch: Instances in the batch; `views` each; `embeddings` is their product.
        temperature, alpha, convention: Of the loss; alpha is None where it has none.
        factor: What the code multiplies the loss by.
        classes: Classes in the batch, of equal size; None where they are not known.
        dimension: Of the random embeddings.
        states: The loss of every state that can be computed without knowing more.
        others: Where no state matches: conventions, factors and sizes under which the value is
            that of identical embeddings.

    Examples:
        >>> from uncollapse import decode_loss
        >>> found = decode_loss(1.9459, batch=4, temperature=0.1)
        >>> found.states[0].state, found.states[0].matches
        ('identical', True)
        >>> DecodedLoss.from_json(found.to_json()) == found
        True
    """

    kind: ClassVar[str] = "decoded-loss"
    value: float
    tolerance: float
    batch: int
    views: int
    embeddings: int
    temperature: float
    alpha: float | None
    convention: LossName
    factor: float
    classes: int | None
    dimension: int
    states: tuple[LossOfState, ...]
    others: tuple[OtherReading, ...] = ()
