"""Two languages: sentences by key, numbers and dates as each writes them, and what was English."""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from typing import Any, Literal, get_args

from uncollapse.errors import InputError, shown
from uncollapse.records import Message, SettingChange, group_of
from uncollapse.report.numbers import SpokenNumbers

Code = Literal["en", "ja"]

# Keys of a configuration whose values are a few names, which have words.
_NAMED = ("loss.reference", "views.augmentation")
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
# What a slot of an English text holds, see `recorded.ja.toml`.
_SLOTS = {"num": r"-?(?:\d[\d.,]*(?:e[+-]?\d+)?|inf)", "any": ".+?"}


@cache
def _catalogue(name: str) -> dict[str, Any]:
    """What a file of words holds; nothing where there is none."""
    file = files("uncollapse.report") / "words" / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


@cache
def _patterns(code: str) -> list[tuple[re.Pattern[str], str]]:
    """English texts with slots such as {count:num}, as patterns, and what they become."""
    patterns = []
    for english, becomes in _catalogue(f"recorded.{code}").items():
        pattern = ""
        for literal, slot, kind, _ in string.Formatter().parse(english):
            pattern += re.escape(literal)
            if slot is not None:
                pattern += f"(?P<{slot}>{_SLOTS[kind or 'any']})"
        patterns.append((re.compile(pattern, re.DOTALL), becomes))
    return patterns


@cache
def language(code: Code, level: float | None = 0.95) -> Language:
    """The language of a code; `level` is of the intervals, None where they differ."""
    if code not in get_args(Code):
        raise InputError("en or ja as the language", f"{code!r}", "choose one of the two")
    need("babel")
    return Language(code, level)


class Language(SpokenNumbers):
    """How one language says things; its methods are also what may stand after a slot's colon."""

    def __init__(self, code: Code, level: float | None = 0.95) -> None:
        self.code = code
        # What is to be done is a slot of other sentences; its English is that of the records.
        of_records = {"free": group_of("free")} if code == "en" else _catalogue("sentences.ja")
        self._words = _catalogue(code) | of_records
        # Of the intervals, in words; "" where they differ.
        self.level = ""
        if level is not None:
            self.level = self.say("format.level", x=f"{100 * level:g}")

    def format_field(self, value: Any, format_spec: str) -> str:
        """By the method or the group of words of that name, else as Python formats."""
        if format_spec and hasattr(self, format_spec):
            return str(getattr(self, format_spec)(value))
        if format_spec in self._words:
            return self.word(format_spec, value)
        if format_spec:
            return f"{value:{format_spec}}".replace("-", "−")
        return self.listed(value) if isinstance(value, tuple) else self.number(value)

    def _find(self, key: str) -> str | None:
        group, _, name = key.partition(".")
        text = self._words.get(group, {}).get(name)
        return text if isinstance(text, str) else None

    def say(self, what: str | Message, **values: Any) -> str:
        """The text of a key, with its numbers."""
        message = what if isinstance(what, Message) else Message(what, values)
        template = self._find(message.key)
        if template is None:
            raise KeyError(message.key)
        return self.vformat(template, (), {"level": self.level, **message.values})

    def word(self, group: str, value: Any) -> str:
        """The word for a value of a group, or of all others there, else the value itself."""
        text = self._find(f"{group}.{value}")
        if text is None and (others := self._find(f"{group}.*")) is not None:
            return others.format(name=short(value))
        return str(value) if text is None else text

    def translate(self, english: str, message: Message | None = None) -> str | None:
        """What a record says, in this language, by its message if it has one; None if unknown."""
        if self.code == "en":
            return english
        if message is not None:
            return self.say(message) if self._find(message.key) else None
        for pattern, becomes in _patterns(self.code):
            match = pattern.fullmatch(english)
            if match is not None:
                return self.vformat(becomes, (), match.groupdict())
        return None

    def record(self, english: str, message: Message | None = None) -> str:
        """The same; what is not known stands as it is, and is marked so."""
        text = self.translate(english, message)
        return self.say("format.as-recorded", text=english) if text is None else text

    def each(self, texts: str) -> str:
        """Several texts of a record, with semicolons between them."""
        return self.say("format.semicolon").join(map(self.record, texts.split("; ")))

    def changes(self, texts: Sequence[str]) -> str:
        """Keys with their values before and after, as a pilot writes them."""
        said = []
        for text in texts:
            key, _, values = text.partition(" ")
            before, arrow, after = values.partition(" -> ")
            ends = {"before": self.chosen(key, before), "after": self.chosen(key, after)}
            change = self.say("decision.from-to", name=key, **ends)
            said.append(change if arrow else self.trial_name(text))
        return self.listed(said)

    def key(self, name: str) -> str:
        """A key of the configuration in words, or with its parts spaced where there are none."""
        return self.word("keys", name) if self._find(f"keys.{name}") else _spaced(name)

    def brief(self, name: str) -> str:
        """A key without the explanation in brackets."""
        return re.split(r" \(|（", self.key(name))[0]

    def brief_trial(self, name: str) -> str:
        """A pilot's trial, in few words."""
        return (
            self.word("free-brief", name) if self._find(f"free-brief.{name}") else self.case(name)
        )

    def case(self, name: str) -> str:
        """A run's name: of the usual ones in words, else as it is, short."""
        base, count, rest = name.partition(" (")
        return (
            self.word("case", base) + count + rest
            if base in self._words["case"]
            else short(name, 40)
        )

    def trial_name(self, name: str) -> str:
        """What a pilot's trial is called: what is to be done where it is free."""
        return self.word("free", name) if self._find(f"free.{name}") else self.case(name)

    # Dates and lists --------------------------------------------------------------------------

    def date(self, when: datetime) -> str:
        """A date with its time, in the zone that it carries."""
        from babel.dates import format_datetime

        pattern = self._words["format"]["date-pattern"]
        text = format_datetime(when, pattern, tzinfo=when.tzinfo, locale=self.code)
        return self.say("format.date", text=text, zone=when.strftime("%Z") or "UTC")

    def listed(self, items: Sequence[str]) -> str:
        """Several things in a row."""
        from babel.lists import format_list

        narrow: Any = "standard-narrow"  # which its own types do not name
        return format_list(items, narrow, self.code) if items else "–"

    # Words of the configuration ----------------------------------------------------------------

    def num(self, text: str) -> str:
        """A number from the English of a record, with the digits that it has there."""
        return text.replace("-", "−")

    def parts(self, names: str) -> str:
        """Several parts of the data, with commas between them in the English of a record."""
        return self.listed([self.word("split", name) for name in names.split(", ")])

    def value(self, given: object) -> str:
        """A value of a configuration."""
        if given is None or isinstance(given, bool):
            return self.word("values", str(given).lower())
        if isinstance(given, list | tuple):
            return self.listed([self.value(part) for part in given])
        return f"{given:g}".replace("-", "−") if isinstance(given, float) else str(given)

    def chosen(self, key: str, given: object) -> str:
        """The value of a key; in words where it is one of a few names, or a number as text."""
        if not isinstance(given, str):
            return self.value(given)
        if key in _NAMED:
            return self.word("values", given)
        return self.value(float(given)) if _NUMBER.fullmatch(given) else given

    def change(self, change: SettingChange) -> str:
        """A key with its values before and after."""
        before, after = (self.chosen(change.key, end) for end in (change.before, change.after))
        return self.say("decision.from-to", name=change.key, before=before, after=after)


def short(text: object, most: int = 60) -> str:
    """A label that fits: what the user wrote, its middle left out where it is long.

    Names of runs differ at their ends as often as at their beginnings.
    """
    plain = shown(" ".join(str(text).split()))
    if len(plain) <= most:
        return plain
    end = (most - 1) // 2
    return f"{plain[: most - 1 - end]}…{plain[len(plain) - end :]}"


def _spaced(name: str) -> str:
    return name.replace(".", ": ").replace("_", " ")


def need(*names: str) -> None:
    """Refuse to go on without a package."""
    for name in names:
        if find_spec(name) is None:
            raise InputError(
                "the packages that draw a report",
                f"an environment without {name}",
                "pip install 'uncollapse[report]'",
            )
