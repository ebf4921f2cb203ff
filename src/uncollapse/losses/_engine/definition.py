"""What a loss is: terms, each a mean over positive pairs, and what a batch must have for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NoReturn

from uncollapse.errors import InputError
from uncollapse.losses._engine.arguments import DegenerateBatchError
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
            raise DegenerateBatchError(*self.missing)


@dataclass(frozen=True)
class Definition:
    """A loss: the sum of its terms, each times its weight."""

    terms: tuple[Term, ...]
    conventions: Conventions
    one_class_remedy: str | None = None  # None where a batch of one class is no error.

    @property
    def unit(self) -> float:
        """The first weight other than 0: with weights in units of it one has not to be applied."""
        return next(term.weight for term in self.terms if term.weight)

    @property
    def shares(self) -> tuple[float, ...]:
        """Weights in that unit."""
        return tuple(term.weight / self.unit for term in self.terms)

    def check(self, is_one_class: bool) -> None:
        """Raise if all samples are of one class and that is an error."""
        if is_one_class and self.one_class_remedy and self.conventions.one_class == "error":
            raise DegenerateBatchError(
                "at least two classes in the batch", "one class only", self.one_class_remedy
            )


def refuse_single(rows: int) -> NoReturn:
    """Of a batch of one instance."""
    raise DegenerateBatchError(
        "at least two instances in the batch",
        f"{rows} view(s) of one",
        "give a larger batch; with nothing to contrast the loss says nothing",
    )


def refuse_neighbourless(term: Term) -> NoReturn:
    """Of a batch without two instances of a class, for a term of scope "own class"."""
    raise DegenerateBatchError(
        f"two instances of one class in the batch, for the {term.name} term",
        "no class with two instances",
        "draw several instances of a class, for example with a class-balanced sampler",
    )
