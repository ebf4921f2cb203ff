"""The conventions of the loss: their names, their choices and their defaults, once."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

from uncollapse.errors import InputError

SelfPairs = Literal["include", "exclude"]
Reduction = Literal["pairs", "anchors"]
AnchorsWithoutPositives = Literal["drop", "zero", "error"]
OneClass = Literal["error", "allow"]


@dataclass(frozen=True)
class Conventions:
    """Which number "the supervised contrastive loss" is; docs/conventions.md compares them.

    Attributes:
        self_pairs: "exclude": the anchor is not in its own denominator; "include": it is, and it is
            a positive of itself in the self-supervised term.
        reduction: "anchors": mean over each anchor's pairs, then over anchors; "pairs": mean over
            all pairs of the batch.
        anchors_without_positives: "drop": left out of the mean over anchors; "zero": counted as 0;
            "error": refused.
        one_class: Whether a batch of one class is refused where the supervised term has weight.

    Raises:
        InputError: A value is none of the choices.

    Examples:
        >>> Conventions(reduction="pairs").anchors_without_positives
        'drop'
    """

    self_pairs: SelfPairs = "exclude"
    reduction: Reduction = "anchors"
    anchors_without_positives: AnchorsWithoutPositives = "drop"
    one_class: OneClass = "error"

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value, choices = field.name, getattr(self, field.name), get_args(field.type)
            if value not in choices:
                expected = f"{name} one of {', '.join(map(repr, choices))}"
                raise InputError(expected, f"{name} = {value!r}", "choose one")
