"""What every record does with JSON: a head, a way back, and a refusal that names file and key."""

import json
import math
import re
from copy import deepcopy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import pytest

import uncollapse
from command_line import call
from uncollapse.errors import InputError
from uncollapse.records import (
    Comparison,
    Document,
    EpochLine,
    Measurement,
    Part,
    PilotResult,
    Prediction,
    ProbeResult,
    RunRecord,
    SimulationRecord,
    TrialFile,
)

OLD = Path(__file__).parent / "old"
FILES = {
    Prediction: "prediction.json",
    Measurement: "measurement.json",
    Comparison: "comparison.json",
    ProbeResult: "probe.json",
    PilotResult: "pilot/pilot.json",
    TrialFile: "pilot/measured-validation-30.json",
    RunRecord: "run/run.json",
    SimulationRecord: "simulation.json",
}
documents = pytest.mark.parametrize("document", FILES, ids=lambda document: document.kind)


def written(document: type[Document]) -> dict[str, Any]:
    """A file as this version writes it."""
    old = json.loads((OLD / FILES[document]).read_text("utf-8"))
    return document.from_dict(old | ({"seed": 2} if document is TrialFile else {})).to_dict()


def changed(record: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy with one value, by its dotted key, replaced; `...` takes the key out."""
    record = part = deepcopy(record)
    *above, last = [int(k) if k.isdigit() else k for k in key.split(".")]
    for name in above:
        part = part[name]
    part[last] = value
    if value is ...:
        del part[last]
    return record


def subclasses(cls: type) -> list[type]:
    return [sub for direct in cls.__subclasses__() for sub in (direct, *subclasses(direct))]


def test_kinds_are_named_once():
    for name in ("pilot", "Report", "train"):  # Rooms are loaded when they are asked for.
        assert getattr(uncollapse, name)
    rooms = [cls for cls in subclasses(Document) if cls.__module__.startswith("uncollapse")]
    owners = {cls.kind: cls for cls in rooms if "kind" in vars(cls)}
    assert len(owners) == sum("kind" in vars(cls) for cls in rooms)
    assert {cls.kind for cls in FILES} <= set(owners)
    assert {"plan", "checkpoint", "report"} <= set(owners)


@documents
def test_a_document_says_what_it_is(document):
    record = written(document)
    assert list(record)[:2] == ["kind", "schema_version"]
    assert (record["kind"], record["schema_version"]) == (document.kind, 1)
    assert set(record) >= {field.name for field in fields(document)} - {"more"}
    json.dumps(record, allow_nan=False)


@documents
def test_unknown_keys_are_left_out_and_others_stay(document):
    record = written(document)
    read = document.from_dict(record | {"new_in_a_later_version": 1}, "file.json")
    if document is not RunRecord:  # It keeps what its caller noted.
        assert read.to_dict() == record
    assert document.from_json(read.to_json()) == read


@documents
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "splendid"),
        ("kind", None),
        ("schema_version", 2),
        ("schema_version", "1"),
        ("schema_version", None),
    ],
)
def test_another_kind_and_a_newer_schema_are_refused(document, key, value):
    with pytest.raises(InputError) as caught:
        document.from_dict(changed(written(document), key, value), "file.json")
    assert "file.json" in caught.value.expected
    assert key in str(caught.value)
    assert repr(value) in caught.value.found


WRONG = [
    (Prediction, "loss", ...),
    (Prediction, "loss", "1.5"),
    (Prediction, "loss", math.nan),
    (Prediction, "phase", "splendid"),
    (Prediction, "phase_per_class.1", 3),
    (Prediction, "cosines", [1]),
    (Prediction, "cosines.b.0", 0.5),
    (Prediction, "certificate_gap", -1.0),
    (Prediction, "temperature_threshold", 0.0),
    (Measurement, "share", ...),
    (Measurement, "share", 0.2),
    (Measurement, "share.low", math.inf),
    (Measurement, "classes", {"a": 1}),
    (Measurement, "classes.0.count", -1),
    (Measurement, "classes.0.count", 1.5),
    (Measurement, "reasons.0.code", None),
    (Measurement, "conditions.normalised", "yes"),
    (Measurement, "conditions.confidence", 95.0),
    (Measurement, "conditions.margins.healthy", 0.0),
    (Measurement, "probe.verdict", "fine"),
    (Comparison, "regression", 1),
    (Comparison, "changes.0.before", None),
    (Comparison, "changes.0", "fell"),
    (ProbeResult, "targets.0.sizes.train", -3),
    (ProbeResult, "targets.0.readings.0.score.accuracy", 0.9),
    (ProbeResult, "conditions.settings.confidence", 2.0),
    (PilotResult, "verdict", "perhaps"),
    (PilotResult, "candidates.0.runs.0.measured", [1]),
    (PilotResult, "start.seconds", -1.0),
    (PilotResult, "conditions.rows.share", 1.5),
    (PilotResult, "conditions.setting.alpha", 2.0),
    (PilotResult, "conditions.config.loss.alpha", math.nan),
    (TrialFile, "epochs", -1),
    (TrialFile, "measured", ...),
    (RunRecord, "status", "splendid"),
    (RunRecord, "prediction.loss", "low"),
    (RunRecord, "parameters", 1e3),
    (SimulationRecord, "runs.0.reached.steps", -1),
    (SimulationRecord, "runs.0.setting.temperature", 0.0),
    (SimulationRecord, "summary.0.loss.mean", math.nan),
    (RunRecord, "setting.class_counts.0", "many"),
    (RunRecord, "setting.alpha", math.nan),
    (RunRecord, "setting.batch.kind", []),
    (RunRecord, "prediction.kind", "probe"),
    (RunRecord, "prediction.schema_version", 2),
    (SimulationRecord, "runs.0.prediction.kind", "run"),
    (Measurement, "classes.0.label", None),
]
# Numbers that can be read, and are none that the quantity can have.
IMPOSSIBLE = [
    (Prediction, "within_class_variance", 1e9),
    (Prediction, "instance_variance_per_class.0", -7.5),
    (Prediction, "between_class_variance", -0.5),
    (Prediction, "alpha_threshold", 1.5),
    (Prediction, "cosines.a.0", 1.5),
    (Prediction, "cosines.counts.0", 0),
    (Measurement, "within_class_variance.estimate", -7.5),
    (Measurement, "total_variance.plug_in", 1e9),
    (Measurement, "micro.view_variance.estimate", 2.5),
    (Measurement, "classes.0.instance_variance.estimate", 1e9),
    (Measurement, "ssem.fit.tolerance", -0.1),
    (Measurement, "probe.knn.estimate", 1.5),
    (Measurement, "probe.null.mean", -7.5),
    (Measurement, "probe.classes.0.logistic", 1.5),
    (Measurement, "conditions.seed", -1),
    (Comparison, "changes.0.direction", "sideways"),
    (ProbeResult, "targets.0.readings.0.score.accuracy.estimate", 1.5),
    (ProbeResult, "targets.0.readings.0.score.balanced_accuracy.estimate", -0.5),
    (ProbeResult, "targets.0.readings.0.score.chance_corrected.estimate", -7.5),
    (ProbeResult, "targets.0.readings.0.validation", 1e9),
    (ProbeResult, "conditions.seed", -1),
    (ProbeResult, "conditions.settings.tolerance", -1.0),
    (ProbeResult, "conditions.settings.within.margin", 1e9),
    (ProbeResult, "conditions.settings.within.strengths.0", -1.0),
    (ProbeResult, "conditions.settings.within.permutations", -1),
    (PilotResult, "start.runs.0.measured.projector.task", 1.5),
    (PilotResult, "start.runs.0.measured.projector.objective", -7.5),
    (PilotResult, "start.runs.0.measured.projector.instance_variance", 1e9),
    (PilotResult, "start.runs.0.seed", -1),
    (PilotResult, "conditions.seeds.0", -1),
    (PilotResult, "recommendation.margin", -0.5),
    (PilotResult, "recommendation.seconds_per_run.start", -1.0),
    (TrialFile, "measured.projector.task", -0.5),
    (RunRecord, "data.unlabelled", -1),
    (RunRecord, "data.rows.train", -1),
    (RunRecord, "data.seed", -1),
    (RunRecord, "data.shape.0", 0),
    (SimulationRecord, "runs.0.reached.view_variance", -7.5),
    (SimulationRecord, "runs.0.seed", -1),
    (SimulationRecord, "summary.0.phases.collapse", -1),
]
# The same at the end of what is possible, or beyond it by rounding.
POSSIBLE = [
    (Prediction, "within_class_variance", -1e-16),
    (Measurement, "within_class_variance.estimate", 2.0),
    (Measurement, "instance_variance.estimate", -2.0),
    (Measurement, "within_class_variance.high", 1e9),
    (Measurement, "share.estimate", -7.5),
    (Measurement, "probe.knn.estimate", -1.0),
    (Measurement, "probe.knn.low", -3.0),
    (ProbeResult, "targets.0.readings.0.score.accuracy.estimate", 1 + 1e-15),
    (ProbeResult, "targets.0.readings.0.score.chance_corrected.estimate", -1.0),
    (ProbeResult, "targets.0.readings.0.score.accuracy.high", 1.5),
    (PilotResult, "start.runs.0.measured.projector.share", 3.0),
    (PilotResult, "start.runs.0.measured.projector.objective", -1.0),
]


@pytest.mark.parametrize(("document", "key", "value"), POSSIBLE)
def test_what_a_quantity_can_be_is_read(document, key, value):
    read = document.from_dict(changed(written(document), key, value))
    *above, last = key.split(".")
    part = read.to_dict()
    for name in above:
        part = part[int(name) if name.isdigit() else name]
    assert part[last] == value


@pytest.mark.parametrize(("document", "key", "value"), WRONG + IMPOSSIBLE)
def test_what_does_not_fit_is_refused_with_file_and_key(document, key, value):
    wrong = changed(written(document), key, value)
    with pytest.raises(InputError) as caught:
        document.from_dict(wrong, "file.json")
    assert caught.value.expected == f"a complete {document.kind} in file.json"
    # A rule over several values of a record is named by the record.
    named = re.search(r"at ([\w.]+): ", caught.value.found)
    assert named, caught.value.found
    assert key.startswith(named[1]) or named[1].startswith(key)


def test_the_key_is_that_of_the_file():
    """Names that the checker gives to members of a union are no part of it."""
    setting = {"class_counts": [4, 4], "alpha": 0.1, "temperature": 0.5}
    run = written(RunRecord) | {"setting": setting | {"batch": {"kind": "balanced"}}}
    for record, document, key in (
        (run, RunRecord, "setting.batch.per_class"),
        (changed(written(Measurement), "classes.0.label", None), Measurement, "classes.0.label"),
    ):
        with pytest.raises(InputError, match=rf"in file\.json; found .* at {key}: "):
            document.from_dict(record, "file.json")


def test_text_that_is_no_json_and_json_that_is_no_object():
    for text, found in (("{", "Expecting"), ("[]", "list"), ("null", "None"), ("NaN", "finite")):
        with pytest.raises(InputError, match=r"file\.json") as caught:
            Measurement.from_json(text, "file.json")
        assert found in caught.value.found


@pytest.mark.parametrize(
    ("key", "value"),
    [("classes.0.count", -1), ("share.low", math.nan), ("kind", "probe"), ("schema_version", 2)],
)
def test_a_command_names_file_and_key_and_exits_with_2(tmp_path, key, value):
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(changed(written(Measurement), key, value)), "utf-8")
    answer = call("compare", str(OLD / "measurement.json"), str(wrong))
    assert (answer.returncode, answer.stdout) == (2, "")
    assert str(wrong) in answer.stderr
    assert key in answer.stderr


def test_a_record_of_ones_own():
    @dataclass(frozen=True)
    class Note(Document):
        kind: ClassVar[str] = "note"
        text: str = ""

    note = Note.from_json('{"text": "kept", "other": 1}')
    assert note.to_json(indent=None) == '{"kind": "note", "schema_version": 1, "text": "kept"}'
    assert (note["text"], note.get("other", 2)) == ("kept", 2)
    assert isinstance(note, Part)


def test_a_line_that_does_not_fit_is_named_by_file_line_and_key(tmp_path):
    lines = tmp_path / "metrics.jsonl"
    lines.write_text('{"step": 1, "epoch": 1}\n{"step": -2, "epoch": 2}\n', "utf-8")
    with pytest.raises(InputError) as caught:
        EpochLine.read_all(lines)
    assert caught.value.expected == f"a complete epoch in line 2 of {lines}"
    assert "at step: " in caught.value.found
    lines.write_text('{"step": 1, "epoch": 1, "loss": 0.5, "seconds": 2.0}\n{"step', "utf-8")
    (read,) = EpochLine.read_all(lines)
    assert (read["loss"], list(read)) == (0.5, ["step", "epoch", "loss", "seconds"])
    assert EpochLine.read_all(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("line", [b"null", b'[["step", 1], ["epoch", 1]]', b"\xe9", b'{"step'])
def test_a_whole_line_that_is_no_object_is_not_passed_over(tmp_path, line):
    lines = tmp_path / "metrics.jsonl"
    lines.write_bytes(line + b"\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl"):
        EpochLine.read_all(lines)


def test_a_prediction_has_its_numbers_for_every_class():
    record = Prediction.read(OLD / "prediction.json").to_dict()
    record["instance_variance_per_class"] = record["instance_variance_per_class"][:-1]
    with pytest.raises(InputError, match="a phase and three variances of each class"):
        Prediction.from_dict(record)
