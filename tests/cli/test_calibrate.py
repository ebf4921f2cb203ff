"""`uncollapse calibrate` on folders of runs, and `predict --calibration` on what it writes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from command_line import call
from uncollapse.records import Calibration, RunRecord
from uncollapse.storage import write_json

OLD = Path(__file__).parent.parent / "records" / "old" / "run"
BEFORE = {"projector/instance_variance": 0.01, "projector/share": 0.95}


def run(folder: Path, alpha: float, within: float, share: float, **changes) -> Path:
    """A run's folder with these variances at its end."""
    record = RunRecord.read(OLD / "run.json")
    setting = record.setting.with_(alpha=alpha)
    folder.mkdir()
    changes = {"status": "finished", "before": BEFORE} | changes
    write_json(folder / "run.json", replace(record, setting=setting, **changes).to_dict())
    line = {"step": 300, "epoch": 30, "seconds": 1.0, "projector/instance_variance": within}
    line |= {"projector/share": share}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    return folder


def test_from_runs_to_a_prediction_with_intervals(tmp_path):
    runs = [run(tmp_path / "a", 0.01, 0.02, 0.08), run(tmp_path / "b", 0.5, 0.4, 0.6)]
    output = tmp_path / "calibration.json"
    answer = call("calibrate", *map(str, runs), "-o", str(output))
    assert (answer.returncode, answer.stdout) == (0, "")
    calibration = Calibration.read(output)
    assert [r.within_class_variance for r in calibration.runs] == [0.02, 0.4]
    assert calibration.within_before == pytest.approx(0.01)
    setting = ["--classes", "2", "--per-class", "175", "--alpha", "0.5", "--temperature", "0.1"]
    answer = call("predict", *setting, "--calibration", str(output), "--json")
    network = json.loads(answer.stdout)["network"]
    for name in ("within_class_variance", "between_class_variance", "alpha_where_spread_begins"):
        assert network[name]["low"] <= network[name]["estimate"] <= network[name]["high"], name
    text = call("predict", *setting, "--calibration", str(output)).stdout
    assert "network      one like those of the calibration" in text
    shown = call("calibrate", str(runs[0])).stdout
    assert "(not determined)" in shown
    assert "next run" in shown


def test_runs_that_say_nothing_are_refused_and_nothing_is_overwritten(tmp_path):
    output = tmp_path / "calibration.json"
    output.write_text("mine")
    unfinished = run(tmp_path / "a", 0.01, 0.02, 0.08, status="paused")
    unmeasured = run(tmp_path / "b", 0.01, 0.02, 0.08)
    (unmeasured / "metrics.jsonl").write_text("")
    unknown = run(tmp_path / "c", 0.01, 0.02, 0.08)
    record = json.loads((unknown / "run.json").read_text())
    write_json(unknown / "run.json", record | {"setting": None})
    for folder, wrong in (
        (unfinished, "a finished run"),
        (unmeasured, "measures of validation rows"),
        (unknown, "whose batches theory knows"),
        (tmp_path, "run.json"),
    ):
        answer = call("calibrate", str(folder), "-o", str(output))
        assert answer.returncode == 2
        assert wrong in answer.stderr
    assert output.read_text() == "mine"
    shutil.copy(OLD / "run.json", tmp_path / "other.json")
    setting = ["--classes", "2", "--per-class", "9", "--alpha", "0.5", "--temperature", "0.1"]
    answer = call("predict", *setting, "--calibration", str(tmp_path / "other.json"))
    assert answer.returncode == 2
    assert "calibration" in answer.stderr
