"""`uncollapse report`: parse, build, write."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from uncollapse.cli import _parameters as parameters
from uncollapse.errors import InputError
from uncollapse.storage import write_text
from uncollapse.tables import Columns

__all__ = ["report_command"]

ENDINGS = {"html": ".html", "json": ".json", "markdown": ".md"}


def report_command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="JSON of measure, compare, probe, predict or pilot, folders of runs and pilots,"
            " embeddings; told apart by their content. The first run or measurement is the"
            " reference, the last is compared with it; a probe record belongs to the one before it."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="File to write; an earlier report is replaced.",
            show_default="report.html, .json or .md",
        ),
    ] = None,
    language: parameters.Language = "en",
    format_: Annotated[
        Literal["html", "json", "markdown"],
        typer.Option("--format", help="A page, the record for an audit, or a model-card section."),
    ] = "html",
    layer: Annotated[
        str | None,
        typer.Option(
            help="Layer that it is about.", show_default="the projector where there is one"
        ),
    ] = None,
    embedding: parameters.Embedding = None,
    label: parameters.Label = None,
    instance: parameters.Instance = None,
    group: parameters.Group = None,
    fine: parameters.Fine = None,
    slice_: parameters.Slices = None,
    sample: Annotated[
        int, typer.Option(min=10, max=5000, help="Rows that a picture shows at most.")
    ] = 1500,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the rows in pictures and of measurements made here.")
    ] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is no report.")
    ] = False,
    as_json: parameters.Json = False,
) -> None:
    """Write one page for whoever decides.

    Verdict, change, gain and cost first; then the numbers for the engineer, and data, seeds and
    versions for the auditor. The columns, --embedding to --slice, are those of embeddings among
    the paths. --json prints the decision and where the file is; --format json is the whole record.

    Example: `uncollapse report runs/before runs/after -o report.html --lang ja`
    """
    from uncollapse.report import ReportOptions, build_report

    target = output or Path(f"report{ENDINGS[format_]}")
    _check_target(target, paths, force)
    columns = Columns(embedding, label, instance, group, fine, tuple(slice_ or ()))
    options = ReportOptions(columns=columns, layer=layer, sample=sample, seed=seed)
    shown = sys.stderr.isatty()
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
        disable=not shown,
        transient=True,
    ) as bar:
        task = bar.add_task("reading", total=None)
        report = build_report(
            paths,
            language,
            options=options,
            progress=lambda name: bar.update(task, description=f"reading {name}"),
        )
        bar.update(task, description="writing")
        make = {"html": report.to_html, "json": report.to_json, "markdown": report.to_markdown}
        text = make[format_]()
    write_text(target, text.rstrip() + "\n")
    size = len(text.encode()) / 1e6
    if as_json:
        answer = {
            "verdict": report.decision.verdict,
            "headline": report.headline,
            "output": str(target),
            "megabytes": round(size, 3),
        }
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        typer.echo(f"{report.decision.verdict}: {report.headline}")
        typer.echo(f"report in {target} ({size:.1f} MB)")


def _check_target(target: Path, paths: list[Path], force: bool) -> None:
    """A report may be written again; any other file, and an input, is left alone."""
    if target.is_dir():
        raise InputError(f"a file to write, not {target}", "a folder", "name a file with -o")
    if not target.exists() or force:
        return
    if target.resolve() in {path.resolve() for path in paths} or not _is_report(target):
        raise InputError(
            f"a new file or an earlier report at {target}",
            "another file",
            "choose another name with -o, or add --force",
        )


def _is_report(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head = file.read(4000)
    except OSError:
        return False
    marks = ('content="uncollapse', '"kind": "report"', "- class-collapse")
    return any(mark in head for mark in marks)
