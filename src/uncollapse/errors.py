"""The one error that a user's input can cause, and text from files as it is shown."""

from __future__ import annotations

import re

# What a terminal obeys, a line breaks at, or a reader cannot see: controls, direction, halves of
# pairs, and what is not there at all. Spaces other than the plain one stay.
UNSHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
MOST_SHOWN = 300


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
        self.expected, self.found, self.remedy = map(shown, (expected, found, remedy))
        super().__init__(f"expected {self.expected}; found {self.found}; {self.remedy}")

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        """Rebuild from the three parts, so that the error survives a process boundary."""
        return type(self), (self.expected, self.found, self.remedy)
