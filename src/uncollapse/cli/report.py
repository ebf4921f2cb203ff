"""`uncollapse report` and `uncollapse explore`: parse, build, write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from uncollapse.cli._console import bar, hanging, print_json, tell
from uncollapse.cli._options import Fields, Keywords
from uncollapse.cli._setting import FromZero, Json, Language, OptionalOutput, Output, rows_of
from uncollapse.errors import InputError, shown
from uncollapse.records import Calibration
from uncollapse.report import ReportOptions
from uncollapse.storage import check_output, is_stream, write_text
from uncollapse.tables import Query

ENDINGS = {"html": ".html", "json": ".json", "markdown": ".md"}
Format = Literal["html", "json", "markdown"]
SAMPLE = Annotated[int, typer.Option(min=10, max=5000)]
USE = ("intended_use", "deployed_layer", "approver")
READING = Fields(
    ReportOptions,
    ("layer", "columns", "reference", "sample", "seed", *USE),
    {"sample": SAMPLE, "seed": FromZero},
)


@dataclass(frozen=True, kw_only=True)
class WrittenOptions:
    """What is written where, of which rows.

    Attributes:
        output: File to write; an earlier report is replaced. [default: report.html, .json or .md]
        format_: A page, the record for an audit, or a model-card section. [default: by the ending
            of --output, else html]
        calibration: Calibration of runs like these (`uncollapse calibrate`): what is advised is
            then for a network like those.
        force: Write over a file that is no report.
    """

    output: OptionalOutput = None
    language: Language = "en"
    format_: Format | None = None
    reading: Annotated[Keywords, READING]
    calibration: Path | None = None
    force: bool = False
    as_json: Json = False


def report_command(
    paths: Annotated[
        list[Path] | None,
        "JSON of measure, compare, probe, predict, pilot, stress or calibrate, folders of runs and"
        " pilots, embeddings, tables of measure --rows; recognised by their content. The first run"
        " or measurement is the reference, the last is compared with it; a probe record and a table"
        " of rows belong to the one before them.",
    ] = None,
    *,
    query: Query,
    given: WrittenOptions,
) -> None:
    """Write one page for decision makers.

    Verdict, change, gain and cost first; then the numbers for the engineer, and data, seeds and
    versions for the auditor. The columns, --embedding to --slice, and the reference are those
    of embeddings among the paths. --json prints the decision and where the file is; --format json
    is the whole record.

    Example: `uncollapse report runs/before runs/after -o report.html --lang ja`
    """
    from uncollapse.report import build_report

    sources = [*(paths or []), *rows_of((), query)] if query.sql else rows_of(paths, query)
    form = _format(given)
    file = given.output or Path(f"report{ENDINGS[form]}")
    if given.calibration is not None:
        Calibration.read(given.calibration, "write it with uncollapse calibrate")
        sources = [given.calibration, *sources]
    _check_target(file, [*(paths or []), *filter(None, [given.calibration])], given.force)
    with bar("reading", transient=True) as update:
        report = build_report(
            sources,
            given.language,
            options=ReportOptions(**given.reading),
            progress=lambda step: update(step.done, step.total, stage=step.stage),
            folder="" if is_stream(file) else file.parent,
        )
        update(0, None, stage="writing")
        make = {"html": report.to_html, "json": report.to_json, "markdown": report.to_markdown}
        text = make[form]()
    write_text(file, text.rstrip() + "\n")
    size, verdict = len(text.encode()) / 1e6, report.decision.verdict
    if given.as_json:
        answer = {"verdict": verdict, "headline": report.headline, "output": str(file)}
        print_json("written", answer | {"megabytes": round(size, 3)})
    else:
        # Where the report itself goes to stdout, what is said of it must not.
        tell(hanging(f"{verdict}: {report.headline}"), err=is_stream(file))
        tell(f"report in {shown(file)} ({size:.1f} MB)", err=is_stream(file))


def _format(given: WrittenOptions) -> Format:
    """What is written: as asked, else by the ending of the file, else a page."""
    ending = "" if given.output is None else given.output.suffix.lower()
    if given.format_ is None and ending == ".pdf":
        raise InputError(
            "a file *.html, *.json or *.md for the report",
            f"{given.output}",
            "write the page as *.html and print it from a browser: it fits A4",
        )
    named: dict[str, Format] = {".json": "json", ".md": "markdown"}
    return given.format_ or named.get(ending, "html")


def _check_target(target: Path, paths: list[Path], force: bool) -> None:
    """A report may be written again; any other file, and an input, is left alone."""
    check_output(target)
    if not target.is_file() or force:
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


def explore_command(
    *,
    output: Annotated[Output, "The HTML file to write; replaced if there."] = Path("explorer.html"),
    lang: Language = "en",
    calibration: Annotated[
        Path | None,
        "Calibration of trained networks (`uncollapse calibrate`): the page also says what one like"
        " those shows.",
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a page to explore predictions in.

    One offline HTML page in which phase, threshold and variance follow the setting at once.
    Balanced classes; its numbers are those of `uncollapse predict`.

    Example: `uncollapse explore -o explorer.html --lang ja`
    """
    from uncollapse.report import explorer_page

    check_output(output)
    constants = None
    if calibration is not None:
        constants = Calibration.read(calibration, "write it with uncollapse calibrate")
    write_text(output, explorer_page(lang, constants))
    if as_json:
        print_json("explorer", {"output": str(output), "lang": lang})
    else:
        tell(f"explorer in {shown(output)}", err=is_stream(output))
