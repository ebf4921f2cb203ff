"""The one error that a user's input can cause, and text from files as it is shown."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

# What a terminal obeys, a line breaks at, or a reader cannot see: controls, direction, halves of
# pairs, and what is not there at all. Spaces other than the plain one stay.
UNSHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
MOST_SHOWN = 300
_MOST_NAMES = 5000  # among which a near one is looked for
# Marks of the system and of pydantic in front of what they say.
_MARKS = re.compile(r"\[(?:Errno|WinError) -?\d+\] |Value error, ")


def shown(text: object, most: int = MOST_SHOWN) -> str:
    r"""Text of a file or a user, as it may stand in an error, a terminal, a page.

    Controls (line breaks, escapes of terminals), marks of direction, invisible characters and lone
    halves of pairs are written as Python escapes; what is longer than `most` characters loses its
    middle.

    Examples:
        >>> shown("\x1b[31mred\nblue")
        '\\x1b[31mred\\nblue'
        >>> shown("x" * 1000, 11)
        'xxxxx…xxxxx'
    """
    whole = str(text)
    if len(whole) > most:
        half = (most - 1) // 2
        whole = f"{whole[:half]}…{whole[-half:]}"
    return UNSHOWN.sub(_escaped, whole)


def visible(text: str) -> str:
    """A whole page as it may be shown: the same escapes, but lines and tabs stay."""
    return UNSHOWN.sub(lambda match: match[0] if match[0] in "\n\t" else _escaped(match), text)


def _escaped(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]


class InputError(ValueError):
    """Something that the caller gave cannot be used.

    The message is one line that says what was expected, what came, and what to do. The command
    line prints it and exits with code 2.

    Args:
        expected: What the argument must be, for example ``"alpha in [0, 1]"``.
        found: What came instead, for example ``"alpha = 1.5"``.
        remedy: What the caller can do about it.

    Examples:
        >>> print(InputError("alpha in [0, 1]", "alpha = 1.5", "give a weight between 0 and 1"))
        expected alpha in [0, 1]; found alpha = 1.5; give a weight between 0 and 1
    """

    def __init__(self, expected: str, found: str, remedy: str) -> None:
        parts = (_MARKS.sub("", str(part)) for part in (expected, found, remedy))
        self.expected, self.found, self.remedy = map(shown, parts)
        super().__init__(f"expected {self.expected}; found {self.found}; {self.remedy}")

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        """Rebuild from the three parts, so that the error survives a process boundary."""
        return type(self), (self.expected, self.found, self.remedy)


def nearest(word: object, known: Iterable[object], least: float = 0.7) -> str | None:
    """Which of the known names was probably meant; None where none is as like it as that.

    Examples:
        >>> nearest("lable", ["table", "label"]), nearest("z", ["embedding", "label"])
        ('label', None)
    """
    names = {str(name).lower(): str(name) for name in islice(known, _MOST_NAMES)}
    asked = str(word)[:MOST_SHOWN].lower()
    near = difflib.get_close_matches(asked, names, n=3, cutoff=least)
    # Of names that are as near, the one with the same letters: lable is label, not table.
    same = (name for name in near if sorted(name) == sorted(asked))
    return names[next(same, near[0])] if near else None


def did_you_mean(word: object, known: Iterable[object], otherwise: str, option: str = "") -> str:
    """The remedy for a name that is not known: the nearest one, after its option, or another way.

    Examples:
        >>> did_you_mean("lable", ["embedding", "label"], "name one that is there", "--label ")
        'did you mean --label label?'
    """
    near = nearest(word, known)
    return otherwise if near is None else f"did you mean {option}{near}?"


def near_file(path: Path, otherwise: str) -> str:
    """The remedy for a file that is not there: one of a near name beside it, or another way."""
    try:
        with os.scandir(path.parent) as entries:
            near = nearest(path.name, (entry.name for entry in entries), 0.8)
    except OSError:
        near = None
    return otherwise if near is None else f"did you mean {path.parent / near}?"


def fault_in_words(fault: Mapping[str, Any], key: str) -> str:
    """What one entry of pydantic's `errors()` says of a key, as people say it.

    Examples:
        >>> fault = {"type": "int_type", "msg": "Input should be a valid integer", "input": "x"}
        >>> fault_in_words(fault, "epochs")
        "epochs must be a valid integer, not 'x'"
    """
    kind, said = fault["type"], str(fault["msg"]).removeprefix("Value error, ")
    if kind in ("missing", "extra_forbidden"):
        return f"{key} is missing" if kind == "missing" else f"{key} is no known key"
    if kind == "value_error":
        return f"{key}: {said}" if key else said
    if kind.startswith("union_tag"):
        context = fault["ctx"]
        key = f"{key}.{context['discriminator'][1:-1]}".removeprefix(".")
        if kind == "union_tag_not_found":
            return f"{key} is missing"
        return f"{key} must be one of {context['expected_tags']}, not {context['tag']!r}"
    return f"{key} {said.replace('Input should be', 'must be')}, not {fault['input']!r}"


def fault_remedy(fault: Mapping[str, Any], keys: Iterable[object], otherwise: str) -> str:
    """What to do about it: the nearest of the keys or of the values that there are, if one is.

    Keys of blocks are given as block.key, and looked for by the key alone.
    """
    kind, context = fault["type"], fault.get("ctx", {})
    if kind in ("missing", "union_tag_not_found"):
        return "add the key"
    if kind == "extra_forbidden":
        *blocks, word = map(str, fault["loc"])
        places = {key.rpartition(".")[2]: key for key in map(str, keys)}
        places |= {
            key.rpartition(".")[2]: key for key in map(str, keys) if key.split(".")[:-1] == blocks
        }
        near = nearest(word, places)
        return "take the key out" if near is None else f"did you mean {places[near]}?"
    if kind in ("literal_error", "union_tag_invalid"):
        known = context["expected" if kind == "literal_error" else "expected_tags"]
        choices = re.findall(r"'([^']*)'", known)
        return did_you_mean(context.get("tag", fault["input"]), choices, otherwise)
    return otherwise
