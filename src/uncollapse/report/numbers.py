"""How numbers are said in a language: shares, points and their intervals."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from uncollapse.records import Estimate, Gap, Interval, NumberChange

# A number with its interval, whatever record it comes from.
Number = Estimate | Interval | NumberChange | Gap


class SpokenNumbers(string.Formatter):
    """Numbers of a language, which says the texts around them."""

    code: str

    def say(self, what: Any, **values: Any) -> str:
        """The text of a key, with its numbers."""
        raise NotImplementedError

    def _decimal(self, value: float, decimals: int, sign: bool = False) -> str:
        """With so many decimals, rounded as Python rounds; minus as it is printed."""
        from babel.numbers import format_decimal

        pattern = "#,##0" + ("." + "0" * decimals if decimals else "")
        pattern = f"+{pattern};-{pattern}" if sign else pattern
        return format_decimal(Decimal(value), pattern, locale=self.code).replace("-", "−")

    def number(self, value: Any, digits: int = 3) -> str:
        """Three significant digits, without exponents between 0.001 and a million."""
        value = _estimate(value)
        if value is None:
            return "–"
        if isinstance(value, str | bool):
            return str(value)
        x = float(value)
        if not math.isfinite(x):
            return "∞" if x > 0 else "−∞"
        if isinstance(value, int) or (x == int(x) and abs(x) < 1e6):
            return self._decimal(int(x), 0)
        size = math.floor(math.log10(abs(x)))
        if -4 <= size < 6:
            return self._decimal(x, max(0, digits - 1 - size))
        mantissa, _, exponent = f"{x:.{digits - 1}e}".partition("e")
        raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{self._decimal(float(mantissa), digits - 1)} × 10{raised}"

    def count(self, value: int) -> str:
        """A whole number with separators."""
        return self._decimal(value, 0)

    def _percentage(self, value: float, sign: bool = False) -> str:
        shown = 100 * value
        decimals = 1 if abs(shown) >= 1 or shown == 0 else 2
        return re.sub(r"^[−+](0\D?0*)$", r"\1", self._decimal(shown, decimals, sign))

    def _signed(self, value: float) -> str:
        """A difference of percentages, to a tenth of a point."""
        return re.sub(r"^[−+](0\D?0*)$", r"\1", self._decimal(100 * value, 1, sign=True))

    def share(self, value: Number | float | None) -> str:
        """A share as a percentage, without its interval."""
        x = _estimate(value)
        return "–" if x is None else self.say("format.percent", x=self._percentage(x))

    def whole(self, value: float) -> str:
        """A share as a percentage in as few digits as it has."""
        return self.say("format.percent", x=f"{100 * value:g}")

    def percent(self, value: Number | float | None) -> str:
        """A share as a percentage, with its interval where it has one."""
        return self._with_interval(value, "format.percent", self._percentage)

    def points(self, value: Number | float | None) -> str:
        """A difference of shares in percentage points, with its interval where it has one."""
        return self._with_interval(value, "format.points", self._signed)

    def points_gained(self, value: Number | None) -> str:
        """A rise in percentage points with its interval; only what lies below zero has a sign."""
        return self._with_interval(value, "format.points", self._percentage)

    def points_lost(self, value: Number | None) -> str:
        """A fall in percentage points with its interval, without signs."""
        low, high = _ends(value) or (None, None)
        ends = (None, None) if low is None or high is None else (-high, -low)
        fall = Interval(-(_estimate(value) or 0.0), *ends)
        return self._with_interval(fall, "format.points", self._percentage)

    def loss(self, value: float) -> str:
        """A loss in percentage points, without a sign."""
        return self.say("format.points", x=self._percentage(value))

    def _with_interval(
        self, value: Number | float | None, unit: str, text: Callable[[float], str]
    ) -> str:
        x, ends = _estimate(value), _ends(value)
        if x is None:
            return "–"
        said = self.say(unit, x=text(x))
        if ends is None:
            return said
        ends_said = {"low": text(ends[0]), "high": text(ends[1]), "unit": self.say(f"{unit}-unit")}
        return said + self.say("format.interval-after", **ends_said)

    def _bracket(self, value: Any, text: Callable[[float], str]) -> str:
        ends = _ends(value)
        return (
            "–"
            if ends is None
            else self.say("format.interval", low=text(ends[0]), high=text(ends[1]))
        )

    def ends(self, value: Number | float | None) -> str:
        """The interval alone."""
        return self._bracket(value, self.number)

    def share_ends(self, value: Number | None) -> str:
        """The interval of a share alone."""
        return self._bracket(value, self.share)

    def point_ends(self, value: Number | None) -> str:
        """The interval of a difference alone, in percentage points."""
        return self._bracket(value, self._signed)

    def interval(self, value: Number | float | None) -> str:
        """A number with its interval."""
        text = self.number(value)
        return text if _ends(value) is None else f"{text} {self.ends(value)}"

    def points_alone(self, points: Estimate) -> str:
        """A difference in percentage points with its interval, without the unit."""
        numbers = (points.estimate, points.low, points.high)
        estimate, low, high = (self._decimal(end or 0, 1, sign=True) for end in numbers)
        return f"{estimate} [{low}, {high}]"

    def duration(self, seconds: float) -> str:
        """Seconds in the unit that suits them."""
        for unit, length in (("hours", 3600.0), ("minutes", 60.0)):
            if seconds >= 2 * length:
                return self.say(f"format.{unit}", x=self.number(seconds / length, 2))
        return self.say("format.seconds", x=self.number(float(seconds), 2))

    def bytes(self, size: int) -> str:
        """A size in kB or MB."""
        if size < 1e6:
            return f"{self.number(max(size / 1e3, 0.1), 2)} kB"
        return f"{self.number(size / 1e6, 3)} MB"


def _estimate(value: Any) -> Any:
    return getattr(value, "estimate", value)


def _ends(value: Any) -> tuple[float, float] | None:
    low, high = getattr(value, "low", None), getattr(value, "high", None)
    return None if low is None or high is None else (low, high)
