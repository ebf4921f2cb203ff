"""A measurement as a person reads it in a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from uncollapse.records.estimate import Estimate

if TYPE_CHECKING:
    from uncollapse.records.measurement import Measurement

__all__ = ["renderables", "show", "summary"]

_COLOURS = {
    "healthy": "green",
    "at-risk": "yellow",
    "collapsed": "red",
    "cannot-tell": "cyan",
}
_MOST_CLASSES = 12


def summary(measurement: Measurement, width: int = 100) -> str:
    """The measurement as plain text."""
    buffer = io.StringIO()
    console = Console(file=buffer, width=width, color_system=None, force_terminal=False)
    show(measurement, console)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def show(measurement: Measurement, console: Console) -> None:
    """Print the measurement, a blank line between its parts."""
    for part in renderables(measurement):
        console.print(part)
        console.print()


def renderables(m: Measurement) -> Iterator[RenderableType]:
    """The parts in the order in which they are read."""
    yield _verdict(m)
    yield _variances(m)
    yield _classes(m)
    yield _ssem(m)
    yield _secondary(m)
    if m.probe is not None:
        yield _probe("Finer labels inside a class (0 chance, 1 perfect)", m.probe)
    for name, found in (m.slices or {}).items():
        yield _slice(name, found)
        yield _gaps(found["gap"])
        title = f"Leakage: {name} read off the embedding inside a class (0 chance, 1 perfect)"
        yield _probe(title, found["leakage"])
    yield _conditions(m.conditions)


def _word(verdict: str) -> Text:
    return Text(verdict, style=_COLOURS.get(verdict, ""))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return "-"
    return f"[{estimate.low:.4g}, {estimate.high:.4g}]"


def _verdict(m: Measurement) -> Text:
    text = Text()
    text.append(m.verdict.upper(), style=f"bold {_COLOURS[m.verdict]}")
    for reason in m.reasons:
        text.append(f"\n{reason.code}  {reason.text}", style="bold" if text.plain == "" else "")
        text.append(f"\n       judged by: {reason.anchor}", style="dim")
        if reason.advice:
            text.append(f"\n       try: {reason.advice}")
    return text


def _table(title: str, *columns: str, left: int = 1) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for k, column in enumerate(columns):
        table.add_column(column, justify="left" if k < left else "right")
    return table


def _variances(m: Measurement) -> Table:
    percent = f"{100 * m.conditions.get('confidence', 0.95):.3g} % interval"
    columns = ["", "estimate", percent, "plug-in", "micro"]
    predicted: dict[str, float] = {}
    if m.prediction is not None:
        p = m.prediction
        columns.append("predicted")
        predicted = {
            "within": p["within_class_variance"],
            "instance": p["instance_variance"],
            "view": p["view_variance"],
            "between": p["between_class_variance"],
            "total": p["within_class_variance"] + p["between_class_variance"],
        }
    table = _table("Variance on the unit sphere", *columns)
    rows = (
        ("within classes", "within", "within_class_variance"),
        ("  between instances", "instance", "instance_variance"),
        ("  between views", "view", "view_variance"),
        ("between classes", "between", "between_class_variance"),
        ("total", "total", "total_variance"),
    )
    for title, short, name in rows:
        value: Estimate = getattr(m, name)
        micro = m.micro.get(name)
        cells = [title, _number(value.estimate), _interval(value), _number(value.plug_in)]
        cells.append(_number(None if micro is None else micro.estimate))
        table.add_row(*cells, *([_number(predicted[short])] if predicted else []))
    return table


def _classes(m: Measurement) -> Table:
    views = m.view_variance.estimate is not None
    ordered = sorted(
        m.classes, key=lambda c: float("inf") if c.share.estimate is None else c.share.estimate
    )
    shown = ordered[:_MOST_CLASSES]
    title = f"Classes ({len(m.classes)})"
    if len(shown) < len(ordered):
        title += f", the {len(shown)} with the smallest share"
    what = "between instances" if views else "within class"
    table = _table(title, "class", "rows", what, "interval", "share of total", "verdict")
    for found in shown:
        value = found.instance_variance if views else found.within_class_variance
        table.add_row(
            Text(str(found.label)),
            str(found.count),
            _number(value.estimate),
            _interval(value),
            _number(found.share.estimate),
            _word(found.verdict),
        )
    return table


def _ssem(m: Measurement) -> Text:
    ssem = m.ssem
    if not ssem["fit"]["describes"]:
        return Text(ssem["fit"]["reason"])
    return Text(
        f"SSEM fits: delta {_number(ssem['delta'])}, omega {_number(ssem['omega'])} "
        "(0 collapsed, 1 all instances apart)"
    )


def _secondary(m: Measurement) -> Table:
    table = _table("Secondary measures", "", "value", "caveat", left=1)
    table.columns[2].justify = "left"
    for name, found in m.secondary.items():
        if found is None:
            table.add_row(name.replace("_", " "), "-", "not applicable here")
            continue
        parts = []
        for key, value in found.items():
            if isinstance(value, (int, float)):
                parts.append(_number(value) if key in ("value", "median") else f"{key} {value:.4g}")
            elif key == "null" and isinstance(value, dict):
                parts.append(f"null {value['low']:.4g} to {value['high']:.4g}")
        text = "\n".join(part.replace("_", " ") for part in parts) or "-"
        table.add_row(name.replace("_", " "), text, Text(found["caveat"], style="dim"))
    return table


def _probe(title: str, probe: dict[str, Any]) -> Table:
    table = _table(title, "", "estimate", "interval")
    for name, shown in (("knn", "neighbours"), ("logistic", "logistic")):
        value = Estimate.from_dict(probe[name] or {})
        table.add_row(shown, _number(value.estimate), _interval(value))
    null = probe["null"]
    if null is not None:
        table.add_row("null", _number(null["mean"]), f"p {null['p_value']:.2g}")
    count = len(probe["classes"])
    table.add_row("verdict", _word(probe["verdict"]), f"{count} classes, {_skipped(probe)}")
    return table


def _skipped(probe: dict[str, Any]) -> str:
    return f"{probe['skipped_classes']} without enough labels"


def _slice(name: str, found: dict[str, Any]) -> Table:
    probed = any(entry["probe"] is not None for entry in found["values"].values())
    columns = ["value", "rows", "within classes", "interval", "share"]
    table = _table(f"Slices by {name}", *columns, *(["logistic"] if probed else []), "verdict")
    for value, entry in found["values"].items():
        within = Estimate.from_dict(entry["within_class_variance"] or {})
        share = Estimate.from_dict(entry["share"] or {})
        cells: list[Any] = [
            Text(value),
            str(entry["count"]),
            _number(within.estimate),
            _interval(within),
            _number(share.estimate),
        ]
        if probed:
            cells.append(str(Estimate.from_dict((entry["probe"] or {}).get("logistic") or {})))
        table.add_row(*cells, _word(entry["verdict"]))
    return table


def _gaps(gap: dict[str, Any]) -> Text:
    lines = []
    for name, found in gap.items():
        if found is not None:
            lines.append(
                f"largest gap in {name.replace('_', ' ')}: {Estimate.from_dict(found)}"
                f" ({found['smallest']} to {found['largest']})"
            )
    return Text("\n".join(lines) or "no gap can be given: fewer than two slices with an interval")


def _conditions(conditions: dict[str, Any]) -> Text:
    given = conditions
    parts = [
        f"{given['samples']} rows, {given['classes']} classes, {given['dimension']} dimensions",
        f"type {given['dtype']}",
        "unit vectors as they came" if given.get("normalised") else "normalised to unit vectors",
        f"intervals: {given.get('interval') or 'none'}"
        + (", clustered by group" if given.get("groups") else ""),
    ]
    for name in ("layer", "split"):
        if given.get(name):
            parts.append(f"{name} {given[name]}")
    dropped = given.get("dropped") or {}
    if dropped:
        listed = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in dropped.items())
        parts.append(f"dropped rows: {listed}")
    return Text("; ".join(parts), style="dim")
