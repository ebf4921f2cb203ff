"""Why a verdict is what it is."""

from __future__ import annotations

from dataclasses import dataclass

from uncollapse.records.codec import Part

__all__ = ["Reason"]


@dataclass(frozen=True)
class Reason(Part):
    """Why the verdict is what it is.

    Attributes:
        code: Stable; UC1xx collapsed, UC2xx at risk, UC3xx cannot tell, UC4xx healthy, UC5xx what
            the reader must know besides.
        text: Plain words.
        anchor: What the number was judged by.
        advice: What to try; empty when there is nothing to do.
    """

    code: str
    text: str
    anchor: str
    advice: str
