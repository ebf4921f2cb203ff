"""What a pilot found: verdict, reasons and the table of the trade; every setting on demand."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from uncollapse.cli._console import print_command
from uncollapse.errors import shown
from uncollapse.records import (
    Hanging,
    Message,
    PilotResult,
    Row,
    TradePoint,
    Trial,
    decimal,
    verdict_word,
)


def show_pilot(result: PilotResult, console: Console, *, details: bool = False) -> None:
    """Print the answer, and with `details` every setting and the search run by run."""
    console.print(_verdict(result))
    console.print(Hanging(("score", result.objective.text), *_reasons(result), *_rows(result)))
    console.print()
    console.print(_trade(result))
    console.print(
        f"gain in points of score; task: accuracy of the training label; front: nothing else that "
        f"can be deployed ({result.deploy}) is at least as good in both and better in one; free: "
        "needs no training"
    )
    if details:
        _show_details(result, console)
    console.print()
    if following := _next(result):
        console.print(Hanging(("next", following[0])))
        print_command(following[1], console)
    if not details:
        console.print(Hanging(("more", "the same command with --details prints every setting")))


def _verdict(result: PilotResult) -> Text:
    said = {"change": f": {advice(result)}", "keep": ": keep your setting"}
    return Text.assemble(verdict_word(result.verdict), said.get(result.verdict, ""))


def advice(result: PilotResult) -> str:
    """What to do, if anything."""
    chosen = result.recommendation
    if chosen is None:
        return ""
    if not chosen.change:
        return f"{Message(f'free.{chosen.trial}', {})} (no training)"
    place = f" (embedding: {chosen.layer})" if chosen.layer not in ("", result.layer) else ""
    return ", ".join(map(str, chosen.change)) + place


def _reasons(result: PilotResult) -> Iterator[Row]:
    """Each reason behind its code, which is said once."""
    for code, reasons in groupby(result.reasons, lambda reason: reason.code):
        for number, reason in enumerate(reasons):
            yield "" if number else code, reason.text


def _rows(result: PilotResult) -> Iterator[Row]:
    """How many rows judged, and how the present setting was measured."""
    if (given := result.conditions.rows) is not None:
        yield "judged on", f"{given.validation_rows} validation and {given.test_rows} test rows"
    measured = result.start.runs[0].measured
    verdicts = (f"{layer} {scores.verdict}" for layer, scores in measured.items())
    yield "start", f"your setting: {', '.join(verdicts)}"


def _next(result: PilotResult) -> tuple[str, str] | None:
    chosen = result.recommendation
    if chosen is not None and chosen.map:
        return "apply the map, of the pilot's own run:", chosen.map
    if chosen is not None and chosen.change:
        words = ["uncollapse", "train", shown(chosen.config)]
        return "train it at full size:", shlex.join(words)
    return None


def _columns(*titles: str) -> Table:
    """An empty table; on a narrow terminal names are cut, never numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        name = title in ("setting", "layer", "")
        least = {"gain": 21, "score": 5, "task": 5}.get(title, 6)
        table.add_column(
            title,
            justify="left" if name else "right",
            overflow="ellipsis",
            no_wrap=True,
            min_width=None if name else least,
        )
    return table


def _trade(result: PilotResult) -> Table:
    """Score against training label, of what every seed was run with, the best first.

    What can be deployed stands above what cannot.
    """
    table = _columns("setting", "score", "gain", "task", "")
    complete = [point for point in result.trade if point.runs == len(result.start.runs)]
    ordered = sorted(complete, key=lambda point: (not point.deployable, -point.objective))
    others = False
    for point in ordered:
        if not point.deployable and not others:
            others = True
            table.add_row(Text(f"not deployable ({result.deploy}):", style="dim"))
        elsewhere = point.kind != "free" and point.layer != result.layer
        name = f"{point.trial} at {point.layer}" if elsewhere else point.trial
        scores = (_score(point.objective), _gain_at(result, point), _score(point.task))
        marks = ["free"] * (point.kind == "free") + ["front"] * point.front
        table.add_row(name, *scores, ", ".join(marks))
    return table


def _gain_at(result: PilotResult, point: TradePoint) -> str:
    """The gain of a setting where it was judged at this layer."""
    for trial in result.trials:
        here = trial.kind == "free" or (trial.layer or result.layer) == point.layer
        if trial.name == point.trial and here and trial.gain is not None:
            return trial.gain.in_points()
    return "-"


def _show_details(result: PilotResult, console: Console) -> None:
    console.print()
    console.print(_settings(result))
    console.print(
        f"theory, W: variance between instances at the optimum, and measured ({result.layer}, "
        "validation rows)"
    )
    if result.conditions.calibration is not None:
        console.print("network: W predicted for a network like yours, projector, with its interval")
        console.print(Hanging(*(("note", str(note)) for note in result.conditions.calibration)))
    if result.search:
        console.print()
        console.print(_path(result))
        console.print(
            "the search, run by run (0: your setting, all seeds; then one): best so far, of those "
            "that lose no more than the margin, and its gain in points over your setting, on "
            "validation rows"
        )


def _settings(result: PilotResult) -> Table:
    expected = [None if t.prediction is None else t.prediction.network for t in result.trials]
    network = ("network",) if any(expected) else ()
    table = _columns("setting", "theory", *network, "W", "score", "gain", "task", "runs")
    for trial, row, foretold in zip(result.trials, result.table(), expected, strict=True):
        variances = (row["predicted_variance"], row["measured_variance"])
        predicted, measured = ("-" if value is None else decimal(value) for value in variances)
        objective, task = _score(row["objective"]), _score(row["task"])
        gain, runs = _gain(trial), str(len(trial.runs))
        between = ("-" if foretold is None else str(foretold),) if network else ()
        table.add_row(trial.name, predicted, *between, measured, objective, gain, task, runs)
    return table


def _path(result: PilotResult) -> Table:
    """Every run of the search, and the best so far by its number."""
    table = _columns("run", "score", "task", "best", "points", "setting")
    numbers = {step.trial: str(number) for number, step in enumerate(result.search)}
    for number, step in enumerate(result.search):
        scores = (_score(step.objective), _score(step.task))
        best = numbers.get(step.best, "-")
        table.add_row(str(number), *scores, best, f"{100 * step.gain:+.1f}", step.trial)
    return table


def _gain(trial: Trial) -> str:
    """The gain with its interval, or why there is none."""
    if trial.gain is not None:
        return trial.gain.in_points()
    if not trial.deployable:
        return "not deployable"
    if trial.status == "pruned":
        return f"pruned at epoch {trial.runs[-1].epochs}"
    words = {"complete": "-", "predicted-collapse": "collapse, not run"}
    return words.get(trial.status, trial.status)


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
