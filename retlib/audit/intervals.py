"""Read a printed number as the exact interval of all numbers that round to it, and show intervals.

Arithmetic is done on fractions, so nothing is rounded; only results become floats, the lower end rounded down and the
upper end up.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple, Protocol

_TEXT = re.compile(r"[+-]?(\d+(?:\.(\d*))?|\.(\d+))\s?(%?)")


class PrintedNumber(Protocol):
    """A number with its digits as printed, such as `retlib.study.Printed`."""

    text: str
    percent: bool


Number = str | float | PrintedNumber
"""A number as printed (``"0.9500"``, ``"95.00%"``), as a float, or an object with the printed text."""


@dataclass(frozen=True)
class Interval:
    """A number and its range: ``float(interval)`` is the value; ``x in interval`` includes the ends of the range.

    Attributes:
        value: Computed from the numbers as they stand, a fraction of one.
        low: Lower end over all numbers that round to them.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def __float__(self) -> float:
        return self.value

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


class Exact(NamedTuple):
    """A closed range of fractions."""

    low: Fraction
    high: Fraction

    def meets(self, other: Exact) -> bool:
        """Whether the two ranges have a number in common."""
        return self.low <= other.high and other.low <= self.high

    def widened(self, by: Fraction) -> Exact:
        """The range with ``by`` more on either side, inside [0, 1]."""
        return Exact(max(Fraction(0), self.low - by), min(Fraction(1), self.high + by))

    def outward(self, value: Fraction | None = None) -> Interval:
        """As floats that enclose it; ``value`` is its middle unless named."""
        middle = (self.low + self.high) / 2 if value is None else value
        low, high = float(self.low), float(self.high)
        low = low if Fraction(low) <= self.low else math.nextafter(low, -math.inf)
        high = high if Fraction(high) >= self.high else math.nextafter(high, math.inf)
        return Interval(float(middle), low, high)


class Reading(NamedTuple):
    """A number as it stands, and the numbers that it may have been printed for.

    Attributes:
        value: As it stands, a fraction of one.
        range: All numbers that round to it.
        cut: Those, the numbers that become it when digits are cut off, and those that round to it digit by digit
            (0.94446 by way of 0.9445 and 0.945 to 0.95).
    """

    value: Fraction
    range: Exact
    cut: Exact


def read_number(number: Number, name: str, decimals: int | None = None) -> Reading:
    """Read a printed number: its value, and half a unit of its last digit up and down, inside [0, 1].

    Args:
        number: A text as printed, where a percent sign divides by 100; an object with such a ``text``; or a float,
            taken as printed with the digits that Python shows (0.95 as "0.95": give ``decimals`` for trailing zeros).
        name: Name of the number, for the message.
        decimals: Digits after the point, for floats; texts show it themselves.

    Raises:
        ValueError: no number, or not between 0 and 1 (0 and 100 %).
    """
    text = number if isinstance(number, str) else getattr(number, "text", None)
    if text is not None:
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{name}: expected a number as printed, such as '0.9500' or '95.00%', got {text!r}")
        unit = 100 if match[4] or getattr(number, "percent", False) else 1
        value, digits = Fraction(text.strip().rstrip("% ")), len(match[2] or match[3] or "")
    else:
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            raise ValueError(f"{name}: expected a number or a text as printed, got {number!r}")
        shown = Decimal(repr(float(number)) if isinstance(number, float) else repr(number))
        value, unit = Fraction(shown), 1
        if decimals is not None and (isinstance(decimals, bool) or not isinstance(decimals, int) or decimals < 0):
            raise ValueError(f"decimals: expected a whole number from 0 up, got {decimals!r}")
        digits = max(0, -int(shown.as_tuple().exponent)) if decimals is None else decimals
    value /= unit
    if not 0 <= value <= 1:
        bounds = "[0, 100] %" if unit == 100 else "[0, 1] (a percentage is written '95.5%')"
        raise ValueError(f"{name}: expected a value in {bounds}, got {text or number}")
    last = Fraction(1, 10**digits * unit)
    widest = Exact(max(Fraction(0), value - last * 5 / 9), min(Fraction(1), value + last))
    return Reading(value, Exact(value, value).widened(last / 2), widest)


def show(span: Exact, digits: int = 4) -> str:
    """Format a range with some decimals, rounded outwards: ``0.0873 to 0.0882``."""
    scale = 10**digits
    low, high = math.floor(span.low * scale), math.ceil(span.high * scale)
    return f"{low / scale:.{digits}f} to {high / scale:.{digits}f}"
