"""Files that users have from before records named their `kind`: all are still read.

`old/` holds one of each, as the first version wrote them.
"""

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import call
from uncollapse.metrics import load_state
from uncollapse.records import (
    BenchmarkResult,
    BenchmarkRun,
    Calibration,
    Comparison,
    EpochLine,
    Measurement,
    PilotPlan,
    PilotResult,
    Prediction,
    ProbeResult,
    RunRecord,
    SimulationRecord,
    StressResult,
    TrialFile,
    WatchedMeasurement,
)
from uncollapse.report import build_report
from uncollapse.training import build_problem, read_run, train

OLD = Path(__file__).parent / "old"
FILES = {
    "prediction.json": Prediction,
    "prediction_advice.json": Prediction,
    "prediction_balanced_batch.json": Prediction,
    "prediction_collapse.json": Prediction,
    "measurement.json": Measurement,
    "measurement_collapsed.json": Measurement,
    "measurement_dropped.json": Measurement,
    "measurement_stream.json": Measurement,
    "saved_left.json": Measurement,
    "calibration.json": Calibration,
    "comparison.json": Comparison,
    "probe.json": ProbeResult,
    "simulation.json": SimulationRecord,
    "simulation_batches.json": SimulationRecord,
    "run/run.json": RunRecord,
    "pilot/pilot.json": PilotResult,
    "pilot/keep.json": PilotResult,
    "pilot/free.json": PilotResult,
    "stress.json": StressResult,
    "benchmark.json": BenchmarkResult,
    "benchmark_run.json": BenchmarkRun,
    "watched.json": WatchedMeasurement,
}
# The pilot adds the seed, which the name of the file's folder says.
TRIAL = "pilot/measured-validation-30.json"
# Whatever a command adds to a record for its reader only.
NOT_OF_THE_RECORD = {"prediction_advice.json": {"advice"}}
# What has another name since.
RENAMED = {"FullBatch": "full", "BalancedBatch": "balanced", "RandomBatch": "random"}


def content(name):
    return json.loads((OLD / name).read_text("utf-8"))


def differing(old, new, place="") -> Iterator[str]:
    """Places of what stands in the old JSON and not, or with another value, in the new."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old:
            yield from differing(old[key], new.get(key, "missing"), f"{place}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differing(before, after, f"{place}.{number}")
    elif isinstance(old, str) and RENAMED.get(old, old) == new:
        return
    elif isinstance(old, bool) != isinstance(new, bool) or not same(old, new):
        yield place


def same(old, new) -> bool:
    """Equal; of measured numbers but for rounding, which differs between processors' BLAS."""
    if isinstance(old, float) and isinstance(new, float):
        return math.isclose(old, new, rel_tol=1e-12)
    return old == new


def lacking(old, new) -> list[str]:
    return list(differing(old, new))


def test_what_is_lacking_is_seen():
    assert lacking({"a": [1, {"b": 2.0}]}, {"a": [1, {"b": 2.0, "c": 3}]}) == []
    assert lacking({"a": [1, {"b": 2.0}]}, {"a": [1, {"b": 2.5}]}) == [".a.1.b"]
    assert lacking({"a": [1], "b": None}, {"a": [1, 2]}) == [".a", ".b"]


@pytest.mark.parametrize("name", FILES)
def test_every_number_of_an_old_file_is_read_and_written_again(name):
    old, kind = content(name), FILES[name]
    record = kind.from_json((OLD / name).read_text("utf-8"), name)
    assert record == kind.from_dict(old)
    written = record.to_dict()
    wanted = {k: v for k, v in old.items() if k not in NOT_OF_THE_RECORD.get(name, ())}
    assert lacking(wanted, written) == []
    assert (written["kind"], written["schema_version"]) == (kind.kind, kind.schema_version)
    again = kind.from_json(record.to_json())
    assert again == record
    assert again.to_json() == record.to_json()


def test_no_file_is_forgotten():
    found = {str(path.relative_to(OLD)) for path in OLD.rglob("*.json")}
    others = {"pilot/plan.json", TRIAL, *(name for name in found if "checkpoints" in name)}
    assert found - others == set(FILES)


def test_parts_of_old_files():
    plan = content("pilot/plan.json")["plan"]
    assert PilotPlan.from_dict(plan).to_dict() == plan | {"searched": 0, "lengths": [], "longer": 0}
    trial = content(TRIAL)
    assert lacking(trial, TrialFile.from_dict({"seed": 2} | trial, TRIAL).to_dict()) == []
    for line in (OLD / "run/metrics.jsonl").read_text("utf-8").splitlines():
        numbers = json.loads(line)
        assert dict(EpochLine.from_dict(numbers).items()) == numbers


def test_a_saved_state_measures_as_it_did():
    now = load_state(OLD / "state_exact_left.npz").measurement().to_dict()
    old = content("saved_left.json")
    # The share alone was once enough for "healthy" (UC401).
    assert (old["verdict"], now["verdict"]) == ("healthy", "not-collapsed")
    for record in (old, *old["classes"]):
        del record["verdict"]
    assert old.pop("reasons")[0]["code"] == "UC401"
    # Intervals of few units have since grown by what a rare kind would add.
    for name in lacking(old, now):
        *_, record, end = name.split(".")
        assert end in ("low", "high") or record == "conditions" or end == "reason", name
    assert old["share"]["high"] < now["share"]["high"] < old["share"]["high"] + 0.1
    assert old["share"]["low"] == pytest.approx(now["share"]["low"], rel=1e-12)


@pytest.mark.parametrize(
    ("name", "samples", "classes"),
    [
        ("state_blocks", [80, 28], 2),
        ("state_groups", [80, 64, 72], 3),
        ("state_one_class", [4], 1),
    ],
)
def test_every_kind_of_state_is_read(name, samples, classes):
    state = load_state(OLD / f"{name}.npz")
    assert (state.samples, len(state.labels)) == (samples, classes)


def test_old_embeddings_are_measured():
    for name, views in (("run/embeddings.parquet", False), ("embeddings_views.npz", True)):
        answer = call(
            *("measure", str(OLD / name), "--embedding", "projector", "--label", "label"),
            *(["--instance", "instance"] if views else []),
            *("--permutations", "0", "--json"),
        )
        assert answer.returncode == 0, answer.stderr
        found = Measurement.from_json(answer.stdout)
        assert found.conditions.views == views
        assert [entry.label for entry in found.classes] == ["even", "odd"]


def test_a_run_of_before_is_read_and_resumed(tmp_path):
    shutil.copytree(OLD / "run", tmp_path / "run")
    config, record = read_run(tmp_path / "run")
    assert record.setting.counts.tolist() == [172, 176]
    result = train(build_problem(config), tmp_path / "run", resume=True)
    first = content_of_lines(tmp_path / "run/metrics.jsonl")[0]
    assert first == content_of_lines(OLD / "run/metrics.jsonl")[0]
    assert (result.step, len(result.history)) == (12, 2)


def content_of_lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_report_of_old_files():
    names = ("run", "measurement.json", "probe.json", "comparison.json", "pilot/pilot.json")
    report = build_report([OLD / name for name in names])
    run, measured = report.to_dict()["cases"]
    assert lacking(content("measurement.json"), measured["measured"][0]["found"]) == []
    assert lacking(content("probe.json"), measured["probes"][0]) == []
    assert lacking(content("run/run.json")["prediction"], run["prediction"]) == []
    assert lacking(content("comparison.json"), report.to_dict()["comparisons"][0]) == []
    assert lacking(content("pilot/pilot.json"), report.to_dict()["pilot"]) == []
