"""Verdicts on embeddings and on probes, and which of two is worse."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["healthy", "at-risk", "collapsed", "cannot-tell"]
ProbeVerdict = Literal["information", "no-information", "cannot-tell"]

WORST_FIRST = ("collapsed", "at-risk", "no-information", "cannot-tell", "information", "healthy")


def severity(verdict: str) -> int:
    """The place of a verdict among all, 0 the worst.

    Examples:
        >>> severity("collapsed") < severity("cannot-tell") < severity("healthy")
        True
    """
    return WORST_FIRST.index(verdict)
