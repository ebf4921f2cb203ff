"""A sentence as its key and the values in it, so that it can be said in any language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from uncollapse.records._english import SENTENCES
from uncollapse.records.codec import Part
from uncollapse.records.estimate import Estimate
from uncollapse.records.score import Interval

Value = bool | int | float | str | Estimate | Interval | tuple[str, ...] | None


def sentence(key: str, values: Mapping[str, Value] | None = None) -> str:
    """The English sentence of a key with its values.

    Examples:
        >>> sentence("compare.differs", {"name": "layer", "before": "a", "after": "b"})
        'layer differs: a and b'
    """
    shown = {name: _listed(value) for name, value in (values or {}).items()}
    return SENTENCES[key].format(**shown)


def _listed(value: Value) -> Value:
    return ", ".join(value) if isinstance(value, tuple) else value


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
