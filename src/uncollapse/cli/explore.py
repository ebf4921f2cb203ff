"""`uncollapse explore`: the prediction as a page to play with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uncollapse.cli._console import print_json
from uncollapse.cli._setting import Json, Language, Output
from uncollapse.storage import write_text


def explore_command(
    *,
    output: Annotated[Output, "The HTML file to write; replaced if there."] = Path("explorer.html"),
    lang: Language = "en",
    as_json: Json = False,
) -> None:
    """Write a page to explore predictions in.

    One offline HTML page in which phase, threshold and variance follow the setting at once.
    Balanced classes; its numbers are those of `uncollapse predict`.

    Example: `uncollapse explore -o explorer.html --lang ja`
    """
    from uncollapse.report import explorer_page

    write_text(output, explorer_page(lang))
    if as_json:
        print_json("explorer", {"output": str(output), "lang": lang})
    else:
        typer.echo(f"explorer in {output}")
