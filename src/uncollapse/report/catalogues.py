"""Files of words, and English texts of records that they translate."""

from __future__ import annotations

import re
import string
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

# What a slot of an English text holds, see `recorded.ja.toml`.
_NUMBER = r"-?(?:\d[\d.,]*(?:e[+-]?\d+)?|inf)"
_SLOTS = {"num": _NUMBER, "any": ".+?"}


@cache
def catalogue(name: str) -> dict[str, Any]:
    """What a file of words holds; nothing where there is none."""
    file = files("uncollapse.report") / "words" / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


@cache
def _patterns(code: str) -> list[tuple[re.Pattern[str], str]]:
    """English texts with slots such as {count:num}, as patterns, and what they become."""
    patterns = []
    for english, becomes in catalogue(f"recorded.{code}").items():
        pattern = ""
        for literal, slot, kind, _ in string.Formatter().parse(english):
            pattern += re.escape(literal)
            if slot is not None:
                pattern += f"(?P<{slot}>{_SLOTS[kind or 'any']})"
        patterns.append((re.compile(pattern, re.DOTALL), becomes))
    return patterns


def recorded(english: str, code: str) -> tuple[str, dict[str, str]] | None:
    """What an English text of a record becomes in a language, and what goes into it."""
    for pattern, becomes in _patterns(code):
        match = pattern.fullmatch(english)
        if match is not None:
            return becomes, match.groupdict()
    return None
