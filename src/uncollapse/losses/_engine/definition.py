"""What a loss is: terms, each a mean over positive pairs, and the conventions of that mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from uncollapse.errors import InputError
from uncollapse.records import Conventions

# Which samples k the denominator of anchor i sums over; "all" holds i itself, and (i, i) is then
# among the pairs of views. With "other classes" each pair is in a denominator of its own as well.
Scope = Literal["all", "others", "own class", "other classes"]
# Other views of the anchor's instance; other instances of its class.
Positives = Literal["views", "class"]


@dataclass(frozen=True)
class Term:
    """A mean over positive pairs (i, j) of -log( exp(s_ij) / D_i ), with a weight in the loss."""

    name: str
    weight: float
    positives: tuple[Positives, ...]
    scope: Scope
    missing: tuple[str, str, str]  # The error where a batch has no such pair.
    labelled_anchors: bool = False  # Whether the unlabelled are no anchors.

    def check(self, conventions: Conventions, pairs: int, lacking: int, anchors: int) -> None:
        """Raise if the batch does not have the pairs that the term needs."""
        if not self.weight:
            return  # It is only logged.
        if conventions.anchors_without_positives == "error" and lacking:
            raise InputError(
                f"a positive for every anchor of the {self.name} term",
                f"{lacking} of {anchors} anchors without one",
                "use a class-balanced sampler, or anchors_without_positives='drop' or 'zero'",
            )
        if not pairs:
            raise InputError(*self.missing)


@dataclass(frozen=True)
class Definition:
    """A loss: the sum of its terms, each times its weight."""

    terms: tuple[Term, ...]
    conventions: Conventions
    one_class_remedy: str | None = None  # None where a batch of one class is no error.

    def check(self, is_one_class: bool) -> None:
        """Raise if all samples are of one class and that is an error."""
        if is_one_class and self.one_class_remedy and self.conventions.one_class == "error":
            raise InputError(
                "at least two classes in the batch", "one class only", self.one_class_remedy
            )
