"""What a pilot's embeddings let read: objective, training task and transfer, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from uncollapse.records import Confirmation, Interval, LayerScores, PilotResult, Trial, TrialRun
from uncollapse.report.language import Language, short
from uncollapse.report.read.pilot_runs import compared, confirmation
from uncollapse.report.sections.section import Section, section
from uncollapse.report.sections.tables import Table, titles_of
from uncollapse.statistics import mean_interval


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
    before: Sequence[TrialRun]
    after: Sequence[TrialRun]
    judged: Confirmation | Trial
    split: str | None


def _sides(pilot: PilotResult) -> _Sides | None:
    name, start, confirmed = compared(pilot), pilot.start, confirmation(pilot)
    if name is None or start is None:
        return None
    trials = {trial.name: trial for trial in pilot.trials}
    runs = {key: trial.runs for key, trial in trials.items()}
    judged: Confirmation | Trial = trials[name]
    split = None
    if confirmed is not None and confirmed.runs:
        runs, judged, split = dict(confirmed.runs), confirmed, confirmed.split
    before, after = runs.get(start.name, ()), runs.get(name, ())
    if not before or len(before) != len(after):
        return None
    return _Sides(name, before, after, judged, split)


def transfer_section(pilot: PilotResult, words: Language) -> Section | None:
    """A row for each quantity and layer; None where no setting was trained to the end."""
    sides = _sides(pilot)
    if sides is None:
        return None
    seeds, name = len(sides.before), short(sides.name)
    if sides.split is None:
        source = words.say("intro.transfer-chosen", seeds=seeds)
    else:
        source = words.say("intro.transfer-confirmed", seeds=seeds, split=sides.split)
    first = sides.before[0].measured
    rows = [
        _row(*quantity, layer, sides, layer == pilot.layer, words)
        for layer in sorted(first, key=lambda layer: layer != pilot.layer)
        for quantity in _quantities(first[layer])
    ]
    titles = titles_of(words, "quantity layer difference interval")
    titles[2:2] = [words.say("trial.start"), name]
    text = words.say("intro.transfer", name=name, source=source)
    return section("transfer", words, text, tables=[("", Table(titles, rows, left=2))])


def _quantities(scores: LayerScores) -> list[tuple[str, str]]:
    """What is compared, as the name of an attribute and of the data in it."""
    return [("objective", ""), ("task", ""), *(("downstream", data) for data in scores.downstream)]


def _number(run: TrialRun, layer: str, quantity: str, data: str) -> float:
    value = run.measured.get(layer, LayerScores())[quantity]
    return (value.get(data) if data else value) or 0.0


def _row(
    quantity: str, data: str, layer: str, sides: _Sides, judged: bool, words: Language
) -> list[str]:
    ends = [
        [_number(run, layer, quantity, data) for run in side]
        for side in (sides.before, sides.after)
    ]
    difference = mean_interval([b - a for a, b in zip(*ends, strict=True)])
    # The record itself has the interval of the layer that was judged.
    recorded = {"objective": sides.judged.gain, "task": sides.judged.task_change}.get(quantity)
    if judged and recorded is not None:
        difference = recorded
    elif sides.split is None:
        # Chosen among several on these very rows: an interval of one comparison would be too short.
        difference = Interval(difference.estimate)
    return [
        short(data) if data else words.word("quantity", quantity),
        words.word("layer", layer),
        *(words.share(sum(values) / len(values)) for values in ends),
        words.points(difference.estimate),
        words.point_ends(difference),
    ]
