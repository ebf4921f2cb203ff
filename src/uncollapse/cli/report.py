"""`uncollapse report`: parse, build, write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from uncollapse.cli._console import bar, print_json
from uncollapse.cli._setting import ColumnOptions, Json, Language
from uncollapse.errors import InputError
from uncollapse.storage import write_text

ENDINGS = {"html": ".html", "json": ".json", "markdown": ".md"}


@dataclass(frozen=True)
class TargetOptions:
    """What is written where."""

    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="File to write; an earlier report is replaced.",
            show_default="report.html, .json or .md",
        ),
    ] = None
    language: Language = "en"
    format_: Annotated[
        Literal["html", "json", "markdown"],
        typer.Option("--format", help="A page, the record for an audit, or a model-card section."),
    ] = "html"
    layer: Annotated[
        str | None,
        typer.Option(
            help="Layer that it is about.", show_default="the projector where there is one"
        ),
    ] = None


@dataclass(frozen=True)
class PictureOptions:
    """Rows of the pictures, and the answer."""

    sample: Annotated[
        int, typer.Option(min=10, max=5000, help="Rows that a picture shows at most.")
    ] = 1500
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the rows in pictures and of measurements made here.")
    ] = 0
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is no report.")] = (
        False
    )
    as_json: Json = False


def report_command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="JSON of measure, compare, probe, predict or pilot, folders of runs and pilots,"
            " embeddings; told apart by their content. The first run or measurement is the"
            " reference, the last is compared with it; a probe record belongs to the one before it."
        ),
    ],
    target: TargetOptions,
    columns: ColumnOptions,
    picture: PictureOptions,
) -> None:
    """Write one page for whoever decides.

    Verdict, change, gain and cost first; then the numbers for the engineer, and data, seeds and
    versions for the auditor. The columns, --embedding to --slice, are those of embeddings among
    the paths. --json prints the decision and where the file is; --format json is the whole record.

    Example: `uncollapse report runs/before runs/after -o report.html --lang ja`
    """
    from uncollapse.report import ReportOptions, build_report

    file = target.output or Path(f"report{ENDINGS[target.format_]}")
    _check_target(file, paths, picture.force)
    options = ReportOptions(
        columns=columns.columns(), layer=target.layer, sample=picture.sample, seed=picture.seed
    )
    with bar("reading", transient=True) as update:
        report = build_report(
            paths,
            target.language,
            options=options,
            progress=lambda step: update(step.done, step.total, stage=step.stage),
        )
        update(0, None, stage="writing")
        make = {"html": report.to_html, "json": report.to_json, "markdown": report.to_markdown}
        text = make[target.format_]()
    write_text(file, text.rstrip() + "\n")
    size = len(text.encode()) / 1e6
    if picture.as_json:
        print_json(
            "written",
            {
                "verdict": report.decision.verdict,
                "headline": report.headline,
                "output": str(file),
                "megabytes": round(size, 3),
            },
        )
    else:
        typer.echo(f"{report.decision.verdict}: {report.headline}")
        typer.echo(f"report in {file} ({size:.1f} MB)")


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
