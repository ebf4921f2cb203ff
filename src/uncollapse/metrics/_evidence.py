"""What a reference says about information: is the structure inside the classes still there?"""

from __future__ import annotations

from dataclasses import dataclass

from uncollapse.records import (
    Interval,
    Margins,
    Reason,
    ReferenceComparison,
    ReferenceProbe,
    Retention,
    Value,
    WithinClassProbe,
)

# Retention of the reference itself, also where it was turned, scaled or rounded to 16 bits.
_SAME = 1 - 1e-5


@dataclass(frozen=True)
class Evidence:
    """Whether it is kept (None: not certain), why, and what else is worth knowing."""

    kept: bool | None
    reason: Reason
    beside: tuple[Reason, ...] = ()

    @property
    def says_nothing(self) -> bool:
        """Whether the reference cannot tell what was lost."""
        return self.reason.code == "UC305"


def is_kept(retention: Retention, margins: Margins) -> bool | None:
    """By the whole interval; kept only above what unrelated rows reach too. None: not certain.

    An embedding that is the reference itself keeps all of it, whatever both have lost: None too.
    """
    estimate, low, high = retention.estimate, retention.low, retention.high
    if estimate is None or low is None or high is None or _is_same(retention):
        return None
    if high < margins.retention:
        return False
    above_chance = retention.null is None or estimate > retention.null
    return True if low > margins.retention and above_chance else None


def _is_same(retention: Retention) -> bool:
    return retention.estimate is not None and retention.estimate > _SAME


def evidence_of(
    reference: ReferenceComparison | None, probe: WithinClassProbe | None, margins: Margins
) -> Evidence | None:
    """The strongest evidence that a reference gives: finer labels, else retention.

    Finer labels decide because they are what the user asks for; retention stands in for them.
    Where they are not certain, retention may still say that something is lost, but not that nothing
    is.
    """
    if reference is None:
        return None
    by_retention = _by_retention(reference, margins)
    by_labels = None if _is_same(reference.retention) else _by_labels(reference, probe, margins)
    if by_labels is None or by_retention is None or by_retention.says_nothing:
        return by_labels or by_retention
    if by_labels.kept is None:
        if by_retention.kept is False:
            return Evidence(False, by_retention.reason, (by_labels.reason,))
        return by_labels
    if by_retention.kept is None or by_retention.kept == by_labels.kept:
        return by_labels
    other = Reason.from_code("UC505", **(by_retention.reason.values or {}))
    return Evidence(by_labels.kept, by_labels.reason, (other,))


def labels_lost(probe: ReferenceProbe | None, margins: Margins) -> bool:
    """Whether the finer labels lost more than their margin, by the whole interval."""
    high = None if probe is None else probe.difference.high
    return high is not None and high < -margins.fine_loss


def retention_values(name: str, retention: Retention, margins: Margins) -> dict[str, Value]:
    """What sentences about retention say."""
    estimate = retention.estimate
    number = None if estimate is None else Interval(estimate, retention.low, retention.high)
    values: dict[str, Value] = {"reference": name, "retention": number, "null": retention.null}
    return values | {"margin": margins.retention}


def _by_retention(reference: ReferenceComparison, margins: Margins) -> Evidence | None:
    found = reference.retention
    values = retention_values(reference.name, found, margins)
    if found.estimate is None or _is_same(found):
        variant = "none" if found.estimate is None else "same"
        return Evidence(None, Reason.from_code("UC305", variant, **values))
    if found.low is None:
        return None
    kept = is_kept(found, margins)
    code = "UC303" if kept is None else "UC403" if kept else "UC209"
    return Evidence(kept, Reason.from_code(code, **values))


def _by_labels(
    reference: ReferenceComparison, probe: WithinClassProbe | None, margins: Margins
) -> Evidence | None:
    """By the few-shot accuracy of both; None without it, or where nothing can be kept."""
    read = reference.probe
    if read is None or read.difference.low is None or read.difference.high is None:
        return None
    least = -margins.fine_loss
    if labels_lost(read, margins):
        return Evidence(False, Reason.from_code("UC210", **_label_values(reference, read, margins)))
    if not _predictable(probe):
        return None
    kept = True if read.difference.low > least else None
    code = "UC404" if kept else "UC304"
    # A loss that is seen and within the margin is said, not passed over.
    part = "part" if kept and read.difference.high < 0 else ""
    return Evidence(kept, Reason.from_code(code, part, **_label_values(reference, read, margins)))


def _label_values(
    reference: ReferenceComparison, read: ReferenceProbe, margins: Margins
) -> dict[str, Value]:
    return {
        "reference": reference.name,
        "shots": read.shots,
        "embedding": read.embedding,
        "base": read.reference,
        "difference": read.difference,
        "margin": margins.fine_loss,
    }


def _predictable(probe: WithinClassProbe | None) -> bool:
    """Whether finer labels are predicted better than by chance: of noise, nothing can be kept."""
    if probe is None or probe.null is not None:
        return probe is None or probe.verdict == "information"
    return any(read is not None and (read.low or 0) > 0 for read in (probe.knn, probe.logistic))
