"""`build_report`: everything that was read, decided and predicted, in one record."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from uncollapse.progress import OnStep, no_steps
from uncollapse.records import Environment
from uncollapse.report.decide import decide as says
from uncollapse.report.decide.decide import Content
from uncollapse.report.decide.phase import phase_diagram
from uncollapse.report.inputs_model import ReportOptions
from uncollapse.report.language import Code
from uncollapse.report.language import language as spoken
from uncollapse.report.read.inputs import Record, read_inputs
from uncollapse.tables import Source

# What the report itself is made with.
PACKAGES = ("uncollapse", "numpy", "scipy", "altair", "vl-convert-python", "jinja2", "babel")


class Report(Content):
    """What a report says; it writes itself as a page, a record or a section of a model card.

    Examples:
        >>> import numpy as np
        >>> from tempfile import TemporaryDirectory
        >>> labels = np.repeat([0, 1, 2], 50)
        >>> with TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/rows.npz", embeddings=np.eye(3, 16)[labels], labels=labels)
        ...     report = build_report([f"{folder}/rows.npz"])
        >>> report.headline.split(":")[0]
        'The classes have collapsed'
        >>> "## Class collapse report" in report.to_markdown()
        True
    """

    def to_html(self) -> str:
        """One self-contained page.

        Raises:
            InputError: The packages that draw it are not installed.
        """
        from uncollapse.report.page import page

        return page(self)

    def to_markdown(self) -> str:
        """A section of a model card, as Hugging Face has them."""
        from uncollapse.report.page import card

        return card(self)


def build_report(
    paths: Source | Record | Iterable[Source | Record],
    language: Code = "en",
    *,
    options: ReportOptions | None = None,
    created: datetime | None = None,
    progress: OnStep = no_steps,
    folder: str | Path = "",
) -> Report:
    """Read measurements, runs, pilots and embeddings, and say what to do.

    Args:
        paths: JSON of `measure`, `compare`, `probe`, `predict` or `pilot`, or what these functions
            returned; folders of runs and pilots, files or folders of embeddings, recognised by
            their content; tables of Arrow (polars, pyarrow, pandas, a query's result), a `Query`,
            URLs, or "-". The first run or measurement is "before", the last "after".
        language: "en" or "ja".
        options: How embeddings are read, and how many rows a picture shows.
        created: The time that the report carries; now where left out.
        progress: Called before each path is read.
        folder: Where the report will lie: paths are shown relative to it.

    Returns:
        The report; `to_html`, `to_json` and `to_markdown` write it.

    Raises:
        InputError: No path, one that holds nothing known, a file that cannot be read.

    Examples:
        >>> import numpy as np
        >>> from tempfile import TemporaryDirectory
        >>> labels = np.repeat([0, 1, 2], 50)
        >>> with TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/rows.npz", embeddings=np.eye(3, 16)[labels], labels=labels)
        ...     report = build_report([f"{folder}/rows.npz"], "ja")
        >>> report.decision.verdict, report.language
        ('collapsed', 'ja')
    """
    spoken(language)
    options = options or ReportOptions()
    inputs = read_inputs(paths, options, progress)
    decision = says.decide(inputs, options.layer)
    use = says.Use(options.intended_use, options.deployed_layer, options.approver)
    setting, placed = says.diagram_setting(inputs), says.marks(inputs, decision)
    taus = [mark.tau for mark in placed if mark.role != "recommended"]
    return Report(
        created=(created or datetime.now()).astimezone(),
        language=language,
        layer=options.layer,
        inputs=inputs,
        decision=decision,
        comparison=says.compared_measurements(inputs, options.layer),
        diagram=None if setting is None else phase_diagram(setting, taus),
        marks=placed,
        absent=says.absent(inputs, use),
        made=Environment.now(PACKAGES),
        use=use,
        folder=str(folder),
    )
