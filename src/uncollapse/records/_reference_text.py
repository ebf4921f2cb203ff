"""What is left of a reference, as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from uncollapse.records import _text
from uncollapse.records.reference import ReferenceClass, ReferenceComparison, ReferenceProbe
from uncollapse.records.verdict import Value, sentence

_MOST_CLASSES = 5


def reference_parts(found: ReferenceComparison) -> Iterator[RenderableType]:
    """The whole, the classes that keep least, and what the finer labels lost."""
    kept = found.retention
    joined = sentence(f"reference.joined.{found.joined_by}", {"key": found.key})
    known: dict[str, Value] = {"name": found.name, "rows": found.rows, "joined": joined}
    lines = [sentence("reference.title", known)]
    if kept.estimate is None:
        lines.append(sentence("reference.none", {"reason": _why(found.classes)}))
    else:
        lines.append(sentence("reference.retention", {"retention": str(kept)}))
        if kept.null is not None:
            lines[-1] += sentence("reference.null", {"null": kept.null})
            if found.looks_unrelated:
                lines.append(sentence("reference.unrelated"))
    if found.probe is not None:
        lines.append(probe_line(found.probe))
    if found.drawn_from is not None:
        lines.append(sentence("reference.drawn", {"rows": found.rows, "all": found.drawn_from}))
    if found.dropped:
        names = (f"{fault.replace('_', ' ')} {count}" for fault, count in found.dropped.items())
        lines.append(sentence("reference.dropped", {"counts": tuple(names)}))
    yield Text("\n".join(lines))
    if len(found.classes) > 1 and kept.estimate is not None:
        yield _classes(found.classes)


def _why(classes: tuple[ReferenceClass, ...]) -> str:
    return next((one.reason for one in classes if one.reason), "no class")


def probe_line(probe: ReferenceProbe) -> str:
    """What the finer labels lost or gained, in points."""
    points = 100 * probe.difference.estimate
    ends = [probe.difference.low, probe.difference.high]
    sign = -1 if points < 0 else 1
    percents = sorted(100 * sign * end for end in ends if end is not None)
    values: dict[str, Value] = {
        "shots": probe.shots,
        "embedding": 100 * probe.embedding,
        "reference": 100 * probe.reference,
        "points": abs(points),
        "interval": f" [{percents[0]:.1f}, {percents[1]:.1f}]" if len(percents) == 2 else "",
    }
    return sentence("reference.lost" if points < 0 else "reference.gained", values)


def _classes(classes: tuple[ReferenceClass, ...]) -> RenderableType:
    """The classes that keep least, those without a number last."""

    def place(one: ReferenceClass) -> float:
        kept = one.retention.estimate
        return float("inf") if kept is None else kept

    listed = sorted(classes, key=place)[:_MOST_CLASSES]
    title = f"Retention by class ({len(classes)})"
    if len(listed) < len(classes):
        title += f", the {len(listed)} that keep least"
    rows = (
        [
            _text.name_text(one.label),
            str(one.units),
            one.retention.estimate,
            _text.ends_of(one.retention),
            one.retention.null,
            one.reason,
        ]
        for one in listed
    )
    return _text.number_table(title, ("class", "units", "retention", "interval", "null", ""), rows)
