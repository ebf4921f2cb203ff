"""What the callbacks write beside a run, and hand to its loggers: records, and the report."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from uncollapse.errors import InputError
from uncollapse.monitor._numbers import CollapseWarning
from uncollapse.records import Measurement
from uncollapse.storage import write_text


def append_line(path: Path, line: str) -> None:
    """Add a line to a file; what cannot be written is warned of and does not stop a training."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            if file.tell():
                file.seek(-1, 2)
                if file.read(1) != b"\n":  # a line that a killed run did not finish
                    file.seek(0)
                    file.truncate(file.read().rfind(b"\n") + 1)
            file.write(f"{line}\n".encode())
    except OSError as error:
        said = f"the measurement was not kept in {path}: {error.strerror or error}"
        warnings.warn(said, CollapseWarning, stacklevel=4)


def check_report() -> None:
    """Refuse, before anything is trained, a report whose packages are not installed."""
    missing = [name for name in ("altair", "jinja2", "vl_convert") if find_spec(name) is None]
    if missing:
        raise InputError(
            "the packages that draw the report, for log_report",
            f"no {' and no '.join(missing)}",
            "pip install 'uncollapse[report]'",
        )


def write_report(path: Path, measurements: Sequence[Measurement]) -> Path | None:
    """The report as a page; None, with a warning, where it cannot be made."""
    from uncollapse.report import build_report

    try:
        write_text(path, build_report(list(measurements)).to_html())
    except InputError as error:
        warnings.warn(f"no report: {error}", CollapseWarning, stacklevel=4)
        return None
    return path


def hand_over(where: str, log: Callable[[], object]) -> None:
    """Give a logger the report; one that does not take it is warned of, and the file stays."""
    try:
        log()
    except Exception as error:  # a service's own errors, whatever they are
        said = f"{where} did not take the report: {type(error).__name__}: {error}"
        warnings.warn(said, CollapseWarning, stacklevel=3)
