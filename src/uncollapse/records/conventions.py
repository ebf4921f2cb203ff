"""The conventions of the loss and the kinds of batch: names, choices and defaults, once."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal, get_args

from uncollapse.errors import InputError
from uncollapse.records.codec import Part

SelfPairs = Literal["include", "exclude"]
Reduction = Literal["pairs", "anchors"]
AnchorsWithoutPositives = Literal["drop", "zero", "error"]
OneClass = Literal["error", "allow"]


@dataclass(frozen=True)
class Conventions:
    """Which number "the supervised contrastive loss" is; docs/conventions.md compares them.

    Refused where a value is none of the choices.

    Attributes:
        self_pairs: "exclude": the anchor is not in its own denominator; "include": it is, and it is
            a positive of itself in the self-supervised term.
        reduction: "anchors": mean over each anchor's pairs, then over anchors; "pairs": mean over
            all pairs of the batch.
        anchors_without_positives: "drop": left out of the mean over anchors; "zero": counted as 0;
            "error": refused.
    """

    self_pairs: SelfPairs = "exclude"
    reduction: Reduction = "anchors"
    anchors_without_positives: AnchorsWithoutPositives = "drop"
    # Whether a batch of one class is refused where the supervised term has weight.
    one_class: OneClass = "error"

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value, choices = field.name, getattr(self, field.name), get_args(field.type)
            if value not in choices:
                expected = f"{name} one of {', '.join(map(repr, choices))}"
                raise InputError(expected, f"{name} = {value!r}", "choose one")


@dataclass(frozen=True)
class FullBatch(Part):
    """Every instance is in every batch.

    Examples:
        >>> from uncollapse import Setting, predict
        >>> setting = Setting(classes=3, per_class=4, alpha=0.1, temperature=0.5)
        >>> setting.batch, predict(setting).phase
        (FullBatch(), 'collapse')
    """

    head: ClassVar[tuple[str, ...]] = ("kind",)
    kind: ClassVar[str] = "full"


@dataclass(frozen=True)
class BalancedBatch(Part):
    """The same number of instances of every class that is in the batch.

    Attributes:
        per_class: Instances of a class in a batch (n_b), at least 1.
        classes: Classes in a batch, drawn at random without replacement; None for all.

    Examples:
        >>> from uncollapse import Setting, predict
        >>> setting = Setting(classes=3, per_class=4, alpha=0.1, temperature=0.5)
        >>> smaller = setting.with_(batch=BalancedBatch(per_class=2, classes=2))
        >>> round(predict(setting).alpha_threshold, 4), round(predict(smaller).alpha_threshold, 4)
        (0.2687, 0.3982)
    """

    head: ClassVar[tuple[str, ...]] = ("kind",)
    kind: ClassVar[str] = "balanced"
    per_class: int
    classes: int | None = None


@dataclass(frozen=True)
class RandomBatch(Part):
    """Instances drawn uniformly without replacement, whatever their class.

    Attributes:
        size: Instances in a batch (B), each with all its views.

    Examples:
        >>> from uncollapse import Setting, predict
        >>> setting = Setting(classes=3, per_class=4, alpha=0.1, temperature=0.5)
        >>> smaller = setting.with_(batch=RandomBatch(size=4))
        >>> round(predict(setting).alpha_threshold, 4), round(predict(smaller).alpha_threshold, 4)
        (0.2687, 0.4784)
    """

    head: ClassVar[tuple[str, ...]] = ("kind",)
    kind: ClassVar[str] = "random"
    size: int


def _kind_of(record: Any) -> str:
    """The kind that JSON names; "BalancedBatch" in files of before, and "full" where none is."""
    kind = record.get("kind") if isinstance(record, dict) else getattr(record, "kind", "none")
    return str("full" if kind is None else kind).lower().removesuffix("batch")


class _ByKind:
    """Tells pydantic to choose the record by its kind."""

    @staticmethod
    def __get_pydantic_core_schema__(source: Any, handler: Callable[[Any], Any]) -> Any:
        from pydantic_core import core_schema

        records = (FullBatch, BalancedBatch, RandomBatch)
        return core_schema.tagged_union_schema(
            {record.kind: handler(record) for record in records}, _kind_of
        )


Batch = Annotated[FullBatch | BalancedBatch | RandomBatch, _ByKind]
