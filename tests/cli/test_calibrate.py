"""`uncollapse calibrate` on folders of runs, and `predict --calibration` on what it writes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

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


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A folder of two runs and of what `calibrate` makes of them, and what it prints."""
    folder = tmp_path_factory.mktemp("calibrated")
    runs = [run(folder / "a", 0.01, 0.02, 0.08), run(folder / "b", 0.5, 0.4, 0.6)]
    return folder, call("calibrate", *map(str, runs), "-o", str(folder / "calibration.json"))


@pytest.fixture(scope="module")
def constants(calibrated):
    """The calibration with a third of its draws, of each of which a prediction is made."""
    whole = Calibration.read(calibrated[0] / "calibration.json")
    path = calibrated[0] / "fewer.json"
    path.write_text(replace(whole, draws=whole.draws[:50]).to_json())
    return str(path)


def test_from_runs_to_a_prediction_with_intervals(calibrated, constants):
    folder, answer = calibrated
    assert answer.returncode == 0
    assert "note: these runs do not determine" in answer.stdout  # without a terminal too
    calibration = Calibration.read(folder / "calibration.json")
    assert [r.within_class_variance for r in calibration.runs] == [0.02, 0.4]
    assert calibration.within_before == pytest.approx(0.01)
    setting = ["--classes", "2", "--per-class", "175", "--alpha", "0.5", "--temperature", "0.1"]
    answer = call("predict", *setting, "--calibration", constants, "--json")
    network = json.loads(answer.stdout)["network"]
    for name in ("within_class_variance", "between_class_variance", "alpha_where_spread_begins"):
        assert network[name]["low"] <= network[name]["estimate"] <= network[name]["high"], name
    text = call("predict", *setting, "--calibration", constants).stdout
    assert "network      one like those of the calibration" in text
    shown = call("calibrate", str(folder / "a")).stdout
    assert "(not determined)" in shown
    assert "next run" in shown


def test_a_measurement_is_held_against_what_is_predicted_for_the_network(constants, tmp_path):
    rows = str(tmp_path / "rows.npz")
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 175)
    spread = np.eye(2, 16)[labels] + 0.21 * rng.standard_normal((350, 16))
    np.savez(rows, embeddings=spread, labels=labels)
    setting = ["--alpha", "0.5", "--temperature", "0.1"]
    answer = call("measure", rows, *setting, "--calibration", constants, "--json")
    record = json.loads(answer.stdout)
    network = record["prediction"]["network"]["within_class_variance"]
    reason = next(reason for reason in record["reasons"] if reason["code"] == "UC511")
    assert reason["values"]["expected"] == network["estimate"]
    within = record["within_class_variance"]
    assert network["low"] < within["estimate"] < network["high"]
    assert reason["variant"] == "consistent"
    shown = call("measure", rows, *setting, "--calibration", constants).stdout
    assert "UC511" in shown
    # A prediction that was made with the calibration says the same; of another layer nothing.
    counts = ["--class-counts", "175,175", *setting]
    prediction = tmp_path / "prediction.json"
    prediction.write_text(call("predict", *counts, "--calibration", constants, "--json").stdout)
    command = ["measure", rows, "--prediction", str(prediction), "--json", "--layer"]
    for layer, variant in (("projector", "consistent"), ("backbone", "other-layer")):
        record = json.loads(call(*command, layer).stdout)
        reason = next(reason for reason in record["reasons"] if reason["code"] == "UC511")
        assert reason["variant"] == variant
    refused = call("measure", rows, "--calibration", constants)
    assert refused.returncode == 2
    assert "--alpha and --temperature" in refused.stderr


def test_advice_is_for_the_network(constants):
    setting = ["--classes", "2", "--per-class", "175", "--alpha", "0.001", "--temperature", "0.1"]
    setting += ["--calibration", constants]
    advice = json.loads(call("predict", *setting, "--json").stdout)["advice"]
    alpha = next(change for change in advice if change["lever"] == "alpha")
    assert alpha["value"] > 0.05
    reached = alpha["network"]["within_class_variance"]
    text = call("predict", *setting).stdout
    assert "for a network like yours: smallest single changes that reach a moderate spread" in text
    found = f"alpha 0.001 -> {alpha['value']:g}: variance within classes {reached['estimate']:.2f}"
    assert found in text


@pytest.mark.slow
def test_a_run_ends_beside_what_was_predicted_for_it(tmp_path):
    """Two runs calibrate, a third one is foretold, compared, and so is its report."""
    config = {
        "data": {"source": "digits", "map": "parity", "limit": 400},
        "views": {"augmentation": "weak", "flip": False},
        "batch": {"sampler": "balanced", "per_class": 32},
        "encoder": {"kind": "convnet", "widths": [8, 16]},
        "head": {"dimension": 16},
        "loss": {"alpha": 0.0, "temperature": 0.1},
        "epochs": 6,
        "device": "cpu",
    }
    file, constants = str(tmp_path / "run.yaml"), str(tmp_path / "calibration.json")
    Path(file).write_text(yaml.safe_dump(config))
    folders = {alpha: str(tmp_path / f"alpha-{alpha}") for alpha in (0.01, 0.9, 0.5)}

    def trained(alpha, *more):
        return call("train", file, "--set", f"loss.alpha={alpha}", "-o", folders[alpha], *more)

    for alpha in (0.01, 0.9):
        assert trained(alpha).returncode == 0
    call("calibrate", folders[0.01], folders[0.9], "-o", constants)
    more = ["--set", "views.augmentation=strong", "--calibration", constants]
    answer = trained(0.5, *more, "--json")
    found = json.loads(answer.stdout)
    network = found["network"]["within_class_variance"]
    assert network["expected"] == found["prediction"]["network"]["within_class_variance"]
    assert network["measured"] == pytest.approx(
        found["history"][-1]["projector/instance_variance"], abs=1e-9
    )
    assert "one like those of the calibration" in answer.stderr
    assert "another augmentation" in answer.stderr
    assert Path(folders[0.5], "calibration.json").read_text() == Path(constants).read_text()
    record = RunRecord.read(Path(folders[0.5], "run.json"))
    assert record.prediction.network.differs[0].key.endswith("augmentation")
    rows = str(Path(folders[0.5], "embeddings.parquet"))
    call("embed", folders[0.5], "--split", "validation", "-o", rows)
    page = tmp_path / "report.html"
    assert call("report", folders[0.5], "-o", str(page), "--lang", "ja").returncode == 0
    assert "同様のネットワーク" in page.read_text()


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
