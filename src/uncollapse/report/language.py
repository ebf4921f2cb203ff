"""Two languages: sentences by key, numbers and dates as each writes them, and what was English."""

from __future__ import annotations

import math
import re
import string
import tomllib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

from uncollapse.errors import InputError
from uncollapse.report.messages import Message

__all__ = ["Code", "Language", "language", "short"]

Code = Literal["en", "ja"]

# What a slot of an English sentence holds, see `translations.ja.toml`.
_NUMBER = r"-?(?:\d[\d.,]*(?:e[+-]?\d+)?|inf)"
_SLOTS = {
    "num": _NUMBER,
    "est": rf"(?:{_NUMBER}(?: \[{_NUMBER}, {_NUMBER}\]| \(no interval\))?|-)",
    "gain": r"[+-]\d[\d.]*(?: \[[+-]\d[\d.]*, [+-]\d[\d.]*\])?",
    "any": ".+?",
}


@cache
def _catalogue(name: str) -> dict[str, Any]:
    text = (files("uncollapse.report") / "words" / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def language(code: Code, level: float | None = 0.95) -> Language:
    """The language of a code.

    Args:
        code: "en" or "ja".
        level: Of the intervals that are spoken of; None where they differ.

    Raises:
        InputError: A language that is not spoken.
    """
    if code not in get_args(Code):
        raise InputError("en or ja as the language", f"{code!r}", "choose one of the two")
    return Language(code, level)


class _Formatter(string.Formatter):
    def __init__(self, speaker: Language) -> None:
        self.speaker = speaker

    def format_field(self, value: Any, format_spec: str) -> str:
        if not format_spec:
            return value if isinstance(value, str) else self.speaker.number(value)
        return str(getattr(self.speaker, format_spec)(value))


class Language:
    """How one language says things.

    Attributes:
        code: "en" or "ja".
        level: Of the intervals, in words; "" where they differ.
    """

    def __init__(self, code: Code, level: float | None = 0.95) -> None:
        self.code = code
        self._words = _catalogue(code)
        self._formatter = _Formatter(self)
        self.level = ""
        if level is not None:
            self.level = self.say("format.level", x=f"{100 * level:g}")
        self._sentences = [] if code == "en" else _patterns(f"translations.{code}")

    def has(self, key: str) -> bool:
        """Whether there is a text of this key."""
        return isinstance(self._find(key), str)

    def _find(self, key: str) -> Any:
        found: Any = self._words
        for part in key.split(".", 1) if "." in key else [key]:
            found = found.get(part) if isinstance(found, dict) else None
        return found

    def say(self, what: str | Message, **values: Any) -> str:
        """The text of a key, with its numbers."""
        message = what if isinstance(what, Message) else Message(what, values)
        template = self._find(message.key)
        if not isinstance(template, str):
            raise KeyError(message.key)
        values = {"level": self.level, **message.values}
        return self._formatter.vformat(template, (), values)

    def word(self, group: str, value: Any) -> str:
        """The word for a value of a group, or the value itself where there is none."""
        found = self._find(f"{group}.{value}")
        return found if isinstance(found, str) else str(value)

    def translate(self, sentence: str) -> str | None:
        """An English sentence of a record in this language; None where it is not known."""
        if self.code == "en":
            return sentence
        for pattern, template in self._sentences:
            match = pattern.fullmatch(sentence)
            if match is not None:
                return self._formatter.vformat(template, (), match.groupdict())
        return None

    def record(self, sentence: str) -> str:
        """The same; one that is not known stands as it is, and is marked so."""
        found = self.translate(sentence)
        return self.say("format.as-recorded", text=sentence) if found is None else found

    def each(self, sentences: str) -> str:
        """Several sentences of a record, with semicolons between them."""
        return self.say("format.semicolon").join(self.record(one) for one in sentences.split("; "))

    def changes(self, text: str) -> str:
        """Keys with their values before and after, as a pilot writes them."""
        found = re.findall(r"(\S+) (\S+) -> (\S+?)(?:, |$)", text)
        return self.say("format.comma").join(
            self.say("decision.from-to", name=self.key(key), before=before, after=after)
            for key, before, after in found
        )

    # Numbers -----------------------------------------------------------------------------------

    def number(self, value: Any, digits: int = 3) -> str:
        """Three significant digits, without exponents between 0.001 and a million."""
        if value is None:
            return "–"
        if isinstance(value, str | bool):
            return str(value)
        x = float(value)
        if not math.isfinite(x):
            return "∞" if x > 0 else "−∞"
        if isinstance(value, int) or (x == int(x) and abs(x) < 1e6):
            return f"{int(x):,}".replace("-", "−")
        size = math.floor(math.log10(abs(x)))
        if -4 <= size < 6:
            return f"{x:,.{max(0, digits - 1 - size)}f}".replace("-", "−")
        mantissa, _, exponent = f"{x:.{digits - 1}e}".partition("e")
        raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{mantissa} × 10{raised}".replace("-", "−")

    def count(self, value: Any) -> str:
        """A whole number with separators."""
        return f"{int(value):,}"

    def _percentage(self, value: float, sign: bool = False) -> str:
        shown = 100 * value
        decimals = 1 if abs(shown) >= 1 or shown == 0 else 2
        text = f"{shown:{'+' if sign else ''}.{decimals}f}"
        return re.sub(r"^[-+](0\.?0*)$", r"\1", text).replace("-", "−")

    def share(self, value: Any) -> str:
        """A share as a percentage, without its interval."""
        x = value.get("estimate") if isinstance(value, Mapping) else value
        return "–" if x is None else self.say("format.percent", x=self._percentage(float(x)))

    def percent(self, value: Any) -> str:
        """A share as a percentage, with its interval where it has one."""
        return self._with_interval(value, "format.percent", sign=False)

    def points(self, value: Any) -> str:
        """A difference of shares in percentage points, with its interval where it has one."""
        return self._with_interval(value, "format.points", sign=True)

    def _with_interval(self, value: Any, unit: str, sign: bool) -> str:
        record = value if isinstance(value, Mapping) else {"estimate": value}
        if record.get("estimate") is None:
            return "–"
        text = self.say(unit, x=self._percentage(float(record["estimate"]), sign))
        low, high = record.get("low"), record.get("high")
        if low is None or high is None:
            return text
        ends = {"low": self._percentage(float(low), sign), "high": self._percentage(high, sign)}
        ends["unit"] = self.say(f"{unit}-unit")
        return text + self.say("format.interval-after", **ends)

    def point_ends(self, record: Mapping[str, Any] | None) -> str:
        """The interval of a difference alone, in percentage points."""
        low, high = (record or {}).get("low"), (record or {}).get("high")
        if low is None or high is None:
            return "–"
        ends = {"low": self._percentage(low, True), "high": self._percentage(high, True)}
        return self.say("format.interval", **ends)

    def interval(self, value: Any) -> str:
        """An estimate with its interval, from a mapping or from the English of a record."""
        if isinstance(value, str):
            value = _estimate_of(value)
        record = value if isinstance(value, Mapping) else {"estimate": value}
        text = self.number(record.get("estimate"))
        ends = self.ends(record)
        return text if ends == "–" else f"{text} {ends}"

    def ends(self, record: Mapping[str, Any] | None) -> str:
        """The interval alone."""
        low, high = (record or {}).get("low"), (record or {}).get("high")
        if low is None or high is None:
            return "–"
        return self.say("format.interval", low=self.number(low), high=self.number(high))

    def num(self, text: str) -> str:
        """A number from the English of a record, with the digits that it has there."""
        return text.replace("-", "−")

    def part(self, name: Any) -> str:
        """A part of the data: training, validation, test."""
        return self.word("split", name)

    def parts(self, names: str) -> str:
        """Several of them, with commas between them in the English of a record."""
        return self.listed([self.part(name) for name in names.split(", ")])

    def duration(self, seconds: Any) -> str:
        """Seconds in the unit that suits them."""
        x = float(seconds)
        for unit, length in (("hours", 3600.0), ("minutes", 60.0)):
            if x >= 2 * length:
                return self.say(f"format.{unit}", x=self.number(x / length, 2))
        return self.say("format.seconds", x=self.number(x, 2))

    def bytes(self, value: Any) -> str:
        """A size in kB or MB."""
        x = float(value)
        if x < 1e6:
            return f"{self.number(max(x / 1e3, 0.1), 2)} kB"
        return f"{self.number(x / 1e6, 3)} MB"

    def date(self, when: datetime) -> str:
        """A date with its time, in the zone that it carries."""
        zone = when.strftime("%Z") or "UTC"
        month = self._words["months"][when.month - 1]
        clock = f"{when:%H:%M}"
        return self.say(
            "format.date",
            day=str(when.day),
            month=month,
            year=str(when.year),
            clock=clock,
            zone=zone,
        )

    def listed(self, items: Sequence[str]) -> str:
        """Several things in a row."""
        return self.say("format.comma").join(items) if items else "–"

    def key(self, name: Any) -> str:
        """A key of a configuration, in words where there are some."""
        return self.word("keys", name)

    def value(self, given: Any) -> str:
        """A value of a configuration."""
        if given is None or isinstance(given, bool):
            return self.word("values", str(given).lower())
        if isinstance(given, list):
            return self.listed([self.value(one) for one in given])
        return f"{given:g}".replace("-", "−") if isinstance(given, float) else str(given)


def _estimate_of(text: str) -> dict[str, float | None]:
    numbers = [float(one.replace(",", "")) for one in re.findall(_NUMBER, text)]
    ends = numbers[1:3] if len(numbers) == 3 else [None, None]
    first = numbers[0] if numbers else None
    return {"estimate": first, "low": ends[0], "high": ends[1]}


def _patterns(name: str) -> list[tuple[re.Pattern[str], str]]:
    """English sentences with slots such as {share:est}, as patterns, and what they become."""
    found = []
    for entry in _catalogue(name)["sentence"]:
        pattern = ""
        for literal, slot, kind, _ in string.Formatter().parse(entry["en"]):
            pattern += re.escape(literal)
            if slot is not None:
                pattern += f"(?P<{slot}>{_SLOTS[kind or 'any']})"
        found.append((re.compile(pattern, re.DOTALL), entry["becomes"]))
    return found


def short(text: object, most: int = 60) -> str:
    """A label that fits: what the user wrote, cut where it is long."""
    plain = " ".join(str(text).split())
    return plain if len(plain) <= most else plain[: most - 1] + "…"
