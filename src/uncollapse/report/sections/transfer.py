"""What a pilot's embeddings let read: objective, training task and transfer, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uncollapse.report.language import Language, short
from uncollapse.report.read.over_seeds import over_seeds
from uncollapse.report.read.pilot_parts import compared_of, trials_of
from uncollapse.report.sections.pilot import number_at
from uncollapse.report.sections.section import Section, section
from uncollapse.report.sections.tables import Table

__all__ = ["transfer_section"]

# Where the record itself has the interval: on the layer that was judged.
_JUDGED = {"objective": "gain", "task": "task_change"}


@dataclass(frozen=True)
class _Sides:
    """The start and the setting beside it.

    Attributes:
        name: Of the setting beside the start.
        before, after: Runs, one per seed.
        judged: Record with the intervals of the judged layer.
        split: Of the confirmation; None where there was none.
    """

    name: str
    before: Sequence[Mapping[str, Any]]
    after: Sequence[Mapping[str, Any]]
    judged: Mapping[str, Any]
    split: str | None


def _sides(pilot: Mapping[str, Any]) -> _Sides | None:
    name, first = compared_of(pilot), str((pilot.get("start") or {}).get("name"))
    if name is None:
        return None
    confirmed = (pilot.get("recommendation") or {}).get("confirmed") or {}
    trials = {str(one.get("name")): one for one in trials_of(pilot)}
    runs = confirmed.get("runs") or {key: one.get("runs") for key, one in trials.items()}
    before, after = runs.get(first) or (), runs.get(name) or ()
    if not before or len(before) != len(after):
        return None
    if confirmed.get("runs"):
        return _Sides(name, before, after, confirmed, str(confirmed.get("split") or "test"))
    return _Sides(name, before, after, trials[name], None)


def transfer_section(pilot: Mapping[str, Any] | None, words: Language) -> Section | None:
    """A row for each quantity and layer; None where no setting was trained to the end."""
    sides = None if pilot is None else _sides(pilot)
    if pilot is None or sides is None:
        return None
    seeds, name = len(sides.before), short(sides.name)
    if sides.split is None:
        source = words.say("intro.transfer-chosen", seeds=seeds)
    else:
        source = words.say("intro.transfer-confirmed", seeds=seeds, split=sides.split)
    judged = str(pilot.get("layer") or "projector")
    layers = sorted(sides.before[0].get("measured") or {}, key=lambda one: one != judged)
    rows = [
        _row(path, layer, sides, layer == judged, words)
        for layer in layers
        for path in _quantities(sides.before[0]["measured"][layer])
    ]
    titles = [
        *(words.say(f"column.{one}") for one in ("quantity", "layer")),
        words.say("trial.start"),
        name,
        *(words.say(f"column.{one}") for one in ("difference", "interval")),
    ]
    text = words.say("intro.transfer", name=name, source=source)
    return section("transfer", words, text, tables=[("", Table(titles, rows, left=2))])


def _quantities(measured: Mapping[str, Any]) -> list[tuple[str, ...]]:
    others = measured.get("downstream") or {}
    return [("objective",), ("task",), *(("downstream", str(name)) for name in others)]


def _row(
    path: tuple[str, ...], layer: str, sides: _Sides, judged: bool, words: Language
) -> list[str]:
    ends = [
        [number_at(run, "measured", layer, *path) or 0.0 for run in side]
        for side in (sides.before, sides.after)
    ]
    difference: Mapping[str, Any] = over_seeds([b - a for a, b in zip(*ends, strict=True)])
    recorded = sides.judged.get(_JUDGED.get(path[0], "")) if judged else None
    if recorded:
        difference = recorded
    elif sides.split is None:
        # Chosen among several on these very rows: an interval of one comparison would be too short.
        difference = {"estimate": difference["estimate"]}
    name = words.word("quantity", path[0]) if len(path) == 1 else short(path[-1])
    return [
        name,
        words.word("layer", layer),
        *(words.share(sum(values) / len(values)) for values in ends),
        words.points(difference["estimate"]),
        words.point_ends(difference),
    ]
