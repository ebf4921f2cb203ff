"""The one error that a user's input can cause."""

from __future__ import annotations


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
        super().__init__(f"expected {expected}; found {found}; {remedy}")
        self.expected = expected
        self.found = found
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        """Rebuild from the three parts, so that the error survives a process boundary."""
        return type(self), (self.expected, self.found, self.remedy)
