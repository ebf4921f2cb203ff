"""`uncollapse explore`: the prediction as a page to play with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from uncollapse.cli import _parameters as parameters
from uncollapse.storage import write_text

__all__ = ["explore_command"]


def explore_command(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The HTML file to write; replaced if there.")
    ] = Path("explorer.html"),
    lang: parameters.Language = "en",
    as_json: parameters.Json = False,
) -> None:
    """Write a page to explore predictions in.

    One offline HTML page in which phase, threshold and variance follow the setting at once.
    Balanced classes; its numbers are those of `uncollapse predict`.

    Example: `uncollapse explore -o explorer.html --lang ja`
    """
    from uncollapse.report import explorer_page

    write_text(output, explorer_page(lang))
    answer = {"output": str(output), "lang": lang}
    typer.echo(json.dumps(answer, ensure_ascii=False) if as_json else f"explorer in {output}")
