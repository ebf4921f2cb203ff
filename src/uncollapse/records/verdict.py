"""Verdicts with their margins, and why: sentences that can be said in any language."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal

from uncollapse.errors import MOST_SHOWN, InputError, shown
from uncollapse.records.codec import Part
from uncollapse.records.scalars import Estimate, Interval

Verdict = Literal["healthy", "not-collapsed", "at-risk", "collapsed", "cannot-tell"]
ProbeVerdict = Literal["information", "no-information", "cannot-tell"]
_WORST_FIRST = (
    "collapsed",
    "at-risk",
    "no-information",
    "cannot-tell",
    "not-collapsed",
    "information",
    "healthy",
)


def severity(verdict: str) -> int:
    """The place of a verdict among all, 0 the worst."""
    return _WORST_FIRST.index(verdict)


@dataclass(frozen=True)
class Margins(Part):
    """Where collapse begins, and from where on what is left counts as kept.

    Attributes:
        collapsed: Collapsed when the whole interval of the share is below this.
        healthy: At risk when the whole interval of the share is below this; above it, all that the
            share alone says is "not-collapsed".
        collapsed_of_predicted: The same two as fractions of the share that is predicted for a
        healthy_of_predicted: setting that keeps instances apart; the smaller of each pair counts.
        lowest_of_declared: But a prediction lowers the first two to no less than this part of them:
            a spread that is predicted to be next to nothing is next to nothing.
        noise: At risk when instance variance is below this fraction of view variance.
        constant: Total variance below which it is said that all embeddings lie nearly at one point.
            It does not turn the verdict: the share is free of scale.
        retention: Retention against a reference: healthy when its whole interval is above this, at
            risk when it is below.
        fine_loss: Accuracy of the finer labels (as a fraction) that may be lost against the
            reference: at risk when the whole interval of the loss is above this, healthy when it
            is below.
        from_start: Retention against the start of the same training, which turns no verdict: what
            the callbacks' `kept_score` counts as kept. An untrained network holds less.
        reached: A prediction is reached when the whole intervals of the share and of the variance
            that it judges lie between this part of those predicted and its reciprocal.

    Examples:
        >>> import numpy as np
        >>> from uncollapse import measure
        >>> labels, noise = np.arange(150) % 3, np.random.default_rng(0).standard_normal((150, 16))
        >>> rows = np.eye(3, 16)[labels] + 0.05 * noise
        >>> measure(rows, labels).verdict
        'not-collapsed'
        >>> measure(rows, labels, margins=Margins(healthy=0.2)).verdict
        'at-risk'
    """

    collapsed: float = 0.01
    healthy: float = 0.05
    collapsed_of_predicted: float = 0.1
    healthy_of_predicted: float = 0.5
    lowest_of_declared: float = 0.1
    noise: float = 0.1
    constant: float = 0.01
    retention: float = 0.5
    fine_loss: float = 0.12
    from_start: float = 0.3
    reached: float = 0.8

    def __post_init__(self) -> None:
        for low, high in (
            ("collapsed", "healthy"),
            ("collapsed_of_predicted", "healthy_of_predicted"),
        ):
            if not 0 < self[low] <= self[high] < 1:
                raise InputError(
                    f"margins with 0 < {low} <= {high} < 1",
                    f"{self[low]} and {self[high]}",
                    "give shares of the total variance",
                )
        for name in ("retention", "fine_loss", "from_start", "reached"):
            if not 0 < self[name] < 1:
                raise InputError(f"a margin {name} in (0, 1)", f"{self[name]}", "give a fraction")

    def for_share(self, predicted: float | None) -> tuple[float, float]:
        """The collapsed and healthy margins, given the predicted share."""
        if predicted is None or predicted <= 0:
            return self.collapsed, self.healthy
        low, high = self.collapsed_of_predicted * predicted, self.healthy_of_predicted * predicted
        return (
            min(self.collapsed, max(low, self.lowest_of_declared * self.collapsed)),
            min(self.healthy, max(high, self.lowest_of_declared * self.healthy)),
        )


Value = bool | int | float | str | Interval | Estimate | tuple[str, ...] | None

_SHORT = 24  # characters of a name in a headline

_FILE = files("uncollapse.records") / "words" / "sentences.en.toml"
_WORDS = tomllib.loads(_FILE.read_text(encoding="utf-8"))
# By code: the keys of its text, of what it was judged by, and of what to try.
REASONS: dict[str, list[str]] = _WORDS.pop("reasons")
SENTENCES: dict[str, str] = {
    f"{group}.{name}": english
    for group, sentences in _WORDS.items()
    for name, english in sentences.items()
}


def group_of(name: str) -> dict[str, str]:
    """The English sentences of a group, by the rest of their keys."""
    parts = (key.partition(".") for key in SENTENCES)
    return {rest: SENTENCES[f"{name}.{rest}"] for group, _, rest in parts if group == name}


def sentence(key: str, values: Mapping[str, Value] | None = None, longest: int = MOST_SHOWN) -> str:
    """The English sentence of a key with its values, names in it no longer than that."""
    known = {name: _said(value, longest) for name, value in (values or {}).items()}
    return SENTENCES[key].format(**known)


def _said(value: Value, longest: int) -> Any:
    """Numbers as they are, to be formatted; text, which may come from files, as it is shown."""
    if isinstance(value, tuple):
        return ", ".join(shown(part, longest) for part in value)
    return shown(value, longest) if isinstance(value, str) else value


@dataclass(frozen=True)
class Message(Part):
    """One sentence: the key of its English in `SENTENCES`, and what stands in it, by name."""

    key: str
    values: Mapping[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        return sentence(self.key, self.values)


@dataclass(frozen=True)
class Reason(Part):
    """Why the verdict is what it is, in plain words, by a stable code.

    UC1xx collapsed, UC2xx at risk, UC3xx cannot tell, UC4xx healthy or not collapsed, UC5xx what
    the reader must know besides.
    """

    code: str
    text: str
    anchor: str  # what the number was judged by
    advice: str  # what to try; empty when there is nothing to do
    variant: str = ""  # which of the texts of this code it is; empty where there is one
    values: Mapping[str, Value] | None = None  # in the three texts, by name; None in older files

    @classmethod
    def from_code(cls, code: str, variant: str = "", /, **values: Value) -> Reason:
        """The reason of a code, with its texts in English."""
        text, anchor, advice = _messages(code, variant, values)
        return cls(code, str(text), str(anchor), str(advice or ""), variant, values)

    @property
    def messages(self) -> tuple[Message, Message, Message | None] | None:
        """Text, anchor and advice to say in another language; None where only texts are known."""
        return None if self.values is None else _messages(self.code, self.variant, self.values)

    @property
    def headline(self) -> str:
        """The reason in a few words, mostly without its numbers; else its whole text."""
        own = f"headline.{self.code}.{self.variant}"
        key = own if own in SENTENCES else f"headline.{self.code}"
        try:
            return sentence(key, self.values, _SHORT)
        except KeyError:
            return self.text


def _messages(
    code: str, variant: str, values: Mapping[str, Value]
) -> tuple[Message, Message, Message | None]:
    text, anchor, advice = REASONS[code]
    # What more it was judged by, where that is known.
    for known in ("predicted", "null"):
        if values.get(known) is not None and f"anchor.{anchor}-{known}" in SENTENCES:
            anchor = f"{anchor}-{known}"
    return (
        Message(f"text.{text}.{variant}" if variant else f"text.{text}", values),
        Message(f"anchor.{anchor}", values),
        Message(f"advice.{advice}", values) if advice else None,
    )
