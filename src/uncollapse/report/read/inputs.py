"""What each path holds, by its content, and all of it read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from uncollapse import records, tables
from uncollapse.errors import InputError
from uncollapse.progress import OnStep, Step
from uncollapse.records import (
    Calibration,
    Comparison,
    Measurement,
    PilotResult,
    Prediction,
    ProbeResult,
    StressResult,
    circumstances_of,
)
from uncollapse.report.inputs_model import (
    Case,
    Measured,
    ReportInputs,
    ReportOptions,
    Source,
    known_layer,
    shown_runs,
)
from uncollapse.report.read.looks import is_row_table, read_looks
from uncollapse.report.read.rows import measured_rows
from uncollapse.report.read.settings import pooled, predicted
from uncollapse.theory import forecast

EMBEDDINGS = ("embeddings.parquet", "embeddings.npz")
Record = (
    Measurement | Comparison | ProbeResult | Prediction | PilotResult | StressResult | Calibration
)
# By the kind that a file names; and by keys that only it has, as files of before named none.
_RECORDS: dict[type[records.Document], set[str]] = {
    PilotResult: {"candidates", "recommendation"},
    Measurement: {"verdict", "within_class_variance", "share", "classes"},
    Comparison: {"verdict_before", "verdict_after", "changes"},
    ProbeResult: {"targets", "conditions"},
    Prediction: {"phase", "instance_variance", "certificate_gap"},
    records.RunRecord: {"status", "setting", "command"},
    Calibration: {"constants", "draws", "runs"},
    StressResult: {"doses", "remedies"},
}


def read_inputs(
    paths: tables.Source | Record | Iterable[tables.Source | Record],
    options: ReportOptions,
    progress: OnStep,
) -> ReportInputs:
    """Read every path, table and query, and take every record, in order.

    A probe record belongs to the run or measurement before it, a calibration to all runs; JSON
    files in a run's folder belong to that run. Runs of one configuration but the seed become one
    case.
    """
    several: Any = paths  # records among them are no rows
    given = [several] if isinstance(several, Record) else tables.sources_of(several)
    if not given:
        raise InputError("a path or more", "none", "name measurements, runs, pilots or embeddings")
    inputs = ReportInputs()
    for number, each in enumerate(sorted(given, key=_after_calibrations)):
        if isinstance(each, Record):
            _take(each, f"{each.kind} {number + 1}", inputs)
        elif isinstance(each, str | Path) and not tables.is_elsewhere(each):
            progress(Step(number, len(given), f"reading {each}"))
            _read(Path(each), inputs, options)
        else:
            progress(Step(number, len(given), "reading rows"))
            _rows(each, inputs, options)
    if inputs.calibration is not None and not (inputs.cases or inputs.pilot or inputs.comparisons):
        raise InputError(
            "a run beside the calibration", "the calibration alone", "name a run's folder too"
        )
    for name in {case.name for case in inputs.cases}:
        same = [case for case in inputs.cases if case.name == name]
        for number, case in enumerate(same, 1):
            case.name = f"{name} ({number})" if len(same) > 1 else name
    inputs.cases = pooled(inputs.cases)
    return inputs


def _after_calibrations(given: Any) -> bool:
    """False for a calibration, which is needed before the runs that it is of."""
    if isinstance(given, str | Path) and Path(given).suffix == ".json" and Path(given).is_file():
        content = records.read_json(Path(given))
        return not (isinstance(content, dict) and content.get("kind") == Calibration.kind)
    return not isinstance(given, Calibration)


def _read(path: Path, inputs: ReportInputs, options: ReportOptions) -> None:
    if not path.is_file() and not path.is_dir():
        raise InputError(f"a file or folder at {path}", "none", "check the path")
    if (path / "run.json").is_file():
        _run(path, inputs, options)
    elif (path / "stress.json").is_file():
        _record(path / "stress.json", inputs)
    elif (path / "pilot.json").is_file():
        _record(path / "pilot.json", inputs)
        records.TrialFile.read_all(path)  # A damaged one is named.
        for run in shown_runs(inputs.pilot):
            if (path / run / "run.json").is_file():
                _run(path / run, inputs, options, kind="trial")
                inputs.cases[-1].name = _role(inputs.pilot, run.parent.name)
    elif is_row_table(path):
        _looked(path, inputs)
    elif path.is_dir() or tables.is_rows(path):
        _embeddings(path, inputs, options)
    else:
        _record(path, inputs)


def _record(path: Path, inputs: ReportInputs) -> None:
    record = _record_of(records.read_json(path), str(path))
    if record is None or isinstance(record, records.RunRecord):
        raise InputError(
            "a record of measure, compare, probe, predict, pilot, stress or calibrate, or a "
            "run's folder",
            f"JSON of another kind in {path}",
            "write it with --json of one of these commands",
        )
    inputs.sources.append(_source(path, record.kind))
    _take(record, path.stem, inputs, str(path))


def _looked(path: Path, inputs: ReportInputs) -> None:
    """Put a table of rows that are worth a look to the case before it."""
    if not inputs.cases:
        raise InputError(
            f"what was measured before the table of its rows, {path}",
            "the table alone",
            "name the embeddings, or the JSON of their measurement, before it",
        )
    inputs.sources.append(_source(path, "rows"))
    case = inputs.cases[-1]
    beside = [Path(source.path).parent for source in inputs.sources if "://" not in source.path]
    case.looks = read_looks(path, beside[-2:])


def _take(record: records.Document, name: str, inputs: ReportInputs, source: str = "") -> None:
    """Put a record where it belongs; one that is not of a file has no source."""
    if isinstance(record, PilotResult):
        inputs.pilot = record
    elif isinstance(record, StressResult):
        inputs.stress = record
    elif isinstance(record, Calibration):
        inputs.calibration = record
    elif isinstance(record, Comparison):
        inputs.comparisons.append(record)
    else:
        if isinstance(record, Measurement) or not inputs.cases:
            inputs.cases.append(Case(name, record.kind))
        _attach(inputs.cases[-1], record, source or name)


def _attach(case: Case, record: records.Document, source: str) -> None:
    """Put a record of a case where it belongs."""
    if isinstance(record, ProbeResult):
        case.probes.append(record)
    elif isinstance(record, Calibration):
        case.calibration = record
    elif isinstance(record, Prediction):
        case.prediction = record
    elif isinstance(record, Measurement):
        given = record.conditions
        column = known_layer(given.columns.get("embedding"))  # as `uncollapse embed` names them
        where = (given.layer or column, given.split or "")
        case.measured.append(Measured(source, *where, record, columns=given.columns))
        case.prediction = case.prediction or record.prediction


def _run(path: Path, inputs: ReportInputs, options: ReportOptions, kind: str = "run") -> None:
    run = records.RunRecord.read(path / "run.json")
    case = Case(_name(path), kind, run=run, prediction=run.prediction)
    if case.prediction is None and run.setting is not None:
        case.prediction = predicted(run.setting, run.keep)
    block: dict[str, Any] = {}
    if (path / "config.yaml").is_file():
        block = _block(path / "config.yaml")
        case.config = _config(block)
    case.history = records.EpochLine.read_all(path / "metrics.jsonl")
    for name in ("run.json", "config.yaml", "metrics.jsonl", "splits.parquet"):
        if (path / name).is_file():
            inputs.sources.append(_source(path / name, "run"))
    for file in sorted(path.glob("*.json")):
        record = None if file.name == "run.json" else _record_of(records.read_json(file), str(file))
        if isinstance(record, Measurement | ProbeResult | Prediction | Calibration):
            inputs.sources.append(_source(file, record.kind))
            _attach(case, record, str(file))
    case.calibration = case.calibration or inputs.calibration
    _foretell(case, block)
    for name in EMBEDDINGS:
        if (path / name).is_file():
            inputs.sources.append(_source(path / name, "embeddings"))
            _measure(case, path / name, options)
            break
    inputs.cases.append(case)


def _foretell(case: Case, block: Mapping[str, Any]) -> None:
    """Put beside theory's prediction what a network of the case's calibration shows."""
    run, calibration, prediction = case.run, case.calibration, case.prediction
    if run is None or run.setting is None or calibration is None or prediction is None:
        return
    if prediction.network is None:
        network = forecast(
            calibration,
            run.setting,
            steps=case.history[-1].step if case.history else None,
            circumstances=circumstances_of(block, run.data.fingerprint),
        )
        case.prediction = replace(prediction, network=network)


def _name(path: Path) -> str:
    """The folder's name; with the one above it where it names but a seed."""
    parts = path.resolve().parts
    return "/".join(parts[-2:] if re.fullmatch(r"seed-?\d+", parts[-1]) else parts[-1:])


def _role(pilot: PilotResult | None, trial: str) -> str:
    """What a reader calls a pilot's trial; which seed its run had is said by the files' list."""
    chosen = None if pilot is None else pilot.recommendation
    return "recommended" if chosen is not None and chosen.trial == trial else trial


def _embeddings(path: Path, inputs: ReportInputs, options: ReportOptions) -> None:
    case = Case(path.stem or str(path), "embeddings")
    _measure(case, path, options)
    below = path.rglob("*") if path.is_dir() else [path]
    files = sorted(p for p in below if p.is_file())
    inputs.sources += [_source(file, "embeddings") for file in files]
    inputs.cases.append(case)


def _rows(given: tables.Source, inputs: ReportInputs, options: ReportOptions) -> None:
    """Rows that are no file of this machine."""
    shards = tables.open_shards(given, views=options.columns.instance is not None)
    case = Case(shards[0].path.name, "embeddings")
    _layers(case, shards, given, options)
    for shard in shards:
        size, digest = shard.fingerprint()
        inputs.sources.append(Source(str(shard.path), "embeddings", size, digest))
    inputs.cases.append(case)


def _measure(case: Case, path: Path, options: ReportOptions) -> None:
    """Measure the layers of a file, unless a record beside it has them measured already."""
    shards = tables.open_shards(path, views=options.columns.instance is not None)
    _layers(case, shards, path, options)


def _layers(
    case: Case, shards: list[tables.Shard], source: tables.Source, options: ReportOptions
) -> None:
    known = {measured.layer for measured in case.measured}
    for measured, points in measured_rows(shards, source, options, case.prediction, known):
        if measured is not None:
            case.measured.append(measured)
        case.points[points.layer] = points


def _block(path: Path) -> dict[str, Any]:
    """The configuration as it is written."""
    block = records.read_yaml(path, "a configuration", "restore the file")
    return block if isinstance(block, dict) else {}


def _config(block: Mapping[str, Any]) -> dict[str, object]:
    """The configuration by dotted keys."""
    flat = _flat(block, "")
    # What runs of before did without the key.
    return flat | {"loss.keep": flat.get("loss.keep", 0.0)} if "loss.alpha" in flat else flat


def _flat(block: Mapping[str, Any], prefix: str) -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in block.items():
        nested = isinstance(value, dict) and value
        flat |= _flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def _source(path: Path, kind: str) -> Source:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Source(str(path), kind, path.stat().st_size, digest)
    except OSError as error:
        raise InputError(
            f"a file that can be read at {path}", str(error.strerror), "check its permissions"
        ) from error


def _record_of(content: Any, source: str) -> records.Document | None:
    """The record that parsed JSON is; None where it is none of those that a report takes."""
    if not isinstance(content, dict):
        return None
    kind = content.get("kind")
    for record, keys in _RECORDS.items():
        if record.kind == kind or (kind is None and keys <= set(content)):
            return record.from_dict(content, source)
    return None
