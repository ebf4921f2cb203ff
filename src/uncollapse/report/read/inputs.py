"""What each path holds, by its content, and all of it read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from uncollapse.errors import InputError
from uncollapse.metrics import Measurement
from uncollapse.records import Prediction
from uncollapse.report.inputs_model import Case, Inputs, Measured, Options, Source
from uncollapse.report.read.over_seeds import pooled
from uncollapse.report.read.pilot_parts import shown_runs
from uncollapse.report.read.rows import measured_rows
from uncollapse.report.read.setting_diff import of_record, predicted
from uncollapse.storage import read_lines
from uncollapse.tables import ENDINGS

__all__ = ["Progress", "kind_of", "quiet", "read_inputs"]

EMBEDDINGS = ("embeddings.parquet", "embeddings.npz")
Progress = Callable[[str], None]


def quiet(text: str) -> None:
    """No progress."""


def read_inputs(
    paths: Sequence[str | Path], options: Options | None = None, progress: Progress = quiet
) -> Inputs:
    """Read every path, in order.

    A probe record belongs to the run or measurement before it; JSON files in a run's folder belong
    to that run. Runs of one configuration but the seed become one case.

    Raises:
        InputError: No path, nothing known in one of them, or a file that cannot be read.
    """
    if not paths:
        raise InputError("a path or more", "none", "name measurements, runs, pilots or embeddings")
    found, options = Inputs(), options or Options()
    for path in map(Path, paths):
        progress(str(path))
        if path.is_dir():
            _folder(path, found, options)
        else:
            _file(path, found, options)
    for name in {case.name for case in found.cases}:
        same = [case for case in found.cases if case.name == name]
        for number, case in enumerate(same, 1):
            case.name = f"{name} ({number})" if len(same) > 1 else name
    found.cases = pooled(found.cases)
    return found


def _folder(path: Path, found: Inputs, options: Options) -> None:
    if (path / "run.json").is_file():
        _run(path, found, options)
    elif (path / "pilot.json").is_file():
        _file(path / "pilot.json", found, options)
        for run in shown_runs(found.pilot or {}):
            if (path / run / "run.json").is_file():
                _run(path / run, found, options, kind="trial")
    else:
        _embeddings(path, found, options)


def _file(path: Path, found: Inputs, options: Options) -> None:
    if not path.is_file():
        raise InputError(f"a file or folder at {path}", "none", "check the path")
    if path.suffix in ENDINGS:
        _embeddings(path, found, options)
        return
    record = _json(path)
    kind = kind_of(record)
    if kind is None:
        raise InputError(
            "a record of measure, compare, probe, predict or pilot, or a run's folder",
            f"JSON of another kind in {path}",
            "write it with --json of one of these commands",
        )
    found.sources.append(_source(path, kind))
    _take(record, kind, path, found)


def kind_of(record: Any) -> str | None:
    """What a JSON record is, by its keys; None where it is none of ours."""
    if not isinstance(record, dict):
        return None
    keys = set(record)
    if record.get("kind") == "pilot" or {"candidates", "recommendation"} <= keys:
        return "pilot"
    if {"verdict", "within_class_variance", "share", "classes"} <= keys:
        return "measurement"
    if {"verdict_before", "verdict_after", "changes"} <= keys:
        return "comparison"
    if {"targets", "conditions"} <= keys:
        return "probe"
    if {"phase", "instance_variance", "certificate_gap"} <= keys:
        return "prediction"
    return None


def _take(record: dict[str, Any], kind: str, path: Path, found: Inputs) -> None:
    """Put one record where it belongs."""
    if kind == "pilot":
        found.pilot = record
    elif kind == "comparison":
        found.comparisons.append(record)
    elif kind == "measurement":
        case = Case(path.stem, "measurement")
        _attach(case, record, path)
        found.cases.append(case)
    else:
        if not found.cases:
            found.cases.append(Case(path.stem, kind))
        _attach_other(found.cases[-1], record, kind)


def _attach(case: Case, record: dict[str, Any], path: Path) -> None:
    try:
        measurement = Measurement.from_dict(record)
    except InputError as error:
        raise InputError(f"{error.expected} in {path}", error.found, error.remedy) from error
    conditions = measurement.conditions
    case.measured.append(
        Measured(
            str(path), conditions.get("layer") or "", conditions.get("split") or "", measurement
        )
    )
    if case.prediction is None and measurement.prediction is not None:
        case.prediction = measurement.prediction.to_dict()


def _attach_other(case: Case, record: dict[str, Any], kind: str) -> None:
    if kind == "probe":
        case.probes.append(record)
    elif kind == "prediction":
        case.prediction = record


def _run(path: Path, found: Inputs, options: Options, kind: str = "run") -> None:
    run = _json(path / "run.json")
    if not isinstance(run, dict):
        raise InputError(f"a run's description in {path}", "JSON of another kind", "train again")
    case = Case(_name(path), kind, run=run, prediction=run.get("prediction"))
    setting = of_record(case.setting)
    if case.prediction is None and setting is not None:
        case.prediction = predicted(setting)
    found.sources.append(_source(path / "run.json", "run"))
    if (path / "config.yaml").is_file():
        case.config = _config(path / "config.yaml")
        found.sources.append(_source(path / "config.yaml", "run"))
    if (path / "metrics.jsonl").is_file():
        case.history = read_lines(path / "metrics.jsonl")
        found.sources.append(_source(path / "metrics.jsonl", "run"))
    if (path / "splits.parquet").is_file():
        found.sources.append(_source(path / "splits.parquet", "run"))
    for file in sorted(path.glob("*.json")):
        record = _json(file)
        held = kind_of(record)
        if file.name == "run.json" or held not in ("measurement", "probe", "prediction"):
            continue
        found.sources.append(_source(file, held))
        if held == "measurement":
            _attach(case, record, file)
        else:
            _attach_other(case, record, held)
    for name in EMBEDDINGS:
        if (path / name).is_file():
            found.sources.append(_source(path / name, "embeddings"))
            _measure(case, path / name, options)
            break
    found.cases.append(case)


def _name(path: Path) -> str:
    """The folder's name; with the one above it where it names but a seed."""
    parts = path.resolve().parts
    return "/".join(parts[-2:] if re.fullmatch(r"seed-?\d+", parts[-1]) else parts[-1:])


def _embeddings(path: Path, found: Inputs, options: Options) -> None:
    case = Case(path.stem or str(path), "embeddings")
    _measure(case, path, options)
    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())
    found.sources += [_source(file, "embeddings") for file in files]
    found.cases.append(case)


def _measure(case: Case, path: Path, options: Options) -> None:
    """Measure the layers of a file, unless a record beside it has them measured already."""
    known = {one.layer for one in case.measured}
    prediction = None if case.prediction is None else Prediction.from_dict(case.prediction)
    for measured, points in measured_rows(path, options, prediction, known):
        if measured is not None:
            case.measured.append(measured)
        case.points[points.layer] = points


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"JSON in {path}", " ".join(str(error).split()), "write it with --json"
        ) from error


def _config(path: Path) -> dict[str, Any]:
    """The configuration by dotted keys."""
    import yaml

    try:
        block = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(
            f"a configuration in {path}", " ".join(str(error).split())[:200], "restore the file"
        ) from error
    return dict(_flat(block if isinstance(block, dict) else {}, ""))


def _flat(block: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in block.items():
        if isinstance(value, dict) and value:
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found


def _source(path: Path, kind: str) -> Source:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Source(str(path), kind, path.stat().st_size, digest)
    except OSError as error:
        raise InputError(
            f"a file that can be read at {path}", str(error), "check its permissions"
        ) from error
