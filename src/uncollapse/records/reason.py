"""Why a verdict is what it is, and sentences that can be said in any language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from uncollapse.records._english import SENTENCES
from uncollapse.records.codec import Part
from uncollapse.records.estimate import Estimate, Interval

Value = bool | int | float | str | Estimate | Interval | tuple[str, ...] | None


def sentence(key: str, values: Mapping[str, Value] | None = None) -> str:
    """The English sentence of a key with its values.

    Examples:
        >>> sentence("compare.differs", {"name": "layer", "before": "a", "after": "b"})
        'layer differs: a and b'
    """
    shown = {
        name: ", ".join(value) if isinstance(value, tuple) else value
        for name, value in (values or {}).items()
    }
    return SENTENCES[key].format(**shown)


@dataclass(frozen=True)
class Message(Part):
    """One sentence.

    Attributes:
        key: Which one; `uncollapse.records.SENTENCES` has its English.
        values: Numbers, names and estimates in it, by name.
    """

    key: str
    values: Mapping[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        return sentence(self.key, self.values)


# By code: the keys of its text, of what it was judged by, and of what to try.
REASONS = {
    "UC101": ("share", "margins", "raise"),
    "UC102": ("views-spread", "margins", "raise-only"),
    "UC103": ("one-point", "total", "centre"),
    "UC201": ("share", "margins", "raise"),
    "UC202": ("below-noise", "view", "average"),
    "UC203": ("optimum", "predicted", "choose"),
    "UC204": ("classes", "all-classes", "balance"),
    "UC205": ("uninformative", "null", "noise"),
    "UC206": ("views-spread", "margins", "raise-only"),
    "UC207": ("readable", "null", "rescale"),
    "UC208": ("slices", "all-slices", "compare-slices"),
    "UC301": ("no-interval", "margins", "keep-intervals"),
    "UC302": ("unsure", "margins", "measure-more"),
    "UC401": ("clear", "margins", ""),
    "UC501": ("no-views", "within", "name-instances"),
    "UC502": ("no-difference", "zero", "check-labels"),
    "UC503": ("predicted", "optimum", ""),
    "UC504": ("one-point", "total", "centre"),
}


@dataclass(frozen=True)
class Reason(Part):
    """Why the verdict is what it is.

    Attributes:
        code: Stable; UC1xx collapsed, UC2xx at risk, UC3xx cannot tell, UC4xx healthy, UC5xx what
            the reader must know besides.
        text: Plain words.
        anchor: What the number was judged by.
        advice: What to try; empty when there is nothing to do.
        variant: Which of the texts of this code it is; empty where there is one.
        values: Numbers and names in the three texts, by name; None in older files.
    """

    code: str
    text: str
    anchor: str
    advice: str
    variant: str = ""
    values: Mapping[str, Value] | None = None

    @classmethod
    def from_code(cls, code: str, variant: str = "", /, **values: Value) -> Reason:
        """The reason of a code, with its texts in English.

        Examples:
            >>> print(Reason.from_code("UC204", count=1, all=3, names=("a",), margin=0.01).text)
            1 of 3 classes are collapsed: a
        """
        text, anchor, advice = _messages(code, variant, values)
        said = "" if advice is None else str(advice)
        return cls(code, str(text), str(anchor), said, variant, values)

    @property
    def messages(self) -> tuple[Message, Message, Message | None] | None:
        """Text, anchor and advice to say in another language; None where only texts are known."""
        return None if self.values is None else _messages(self.code, self.variant, self.values)


def _messages(
    code: str, variant: str, values: Mapping[str, Value]
) -> tuple[Message, Message, Message | None]:
    text, anchor, advice = REASONS[code]
    if anchor == "margins" and "predicted" in values:
        anchor = "margins-predicted"
    return (
        Message(f"text.{text}.{variant}" if variant else f"text.{text}", values),
        Message(f"anchor.{anchor}", values),
        Message(f"advice.{advice}", values) if advice else None,
    )
