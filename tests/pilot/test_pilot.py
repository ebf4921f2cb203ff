"""The pilot on scikit-learn's digits, and what it refuses before anything runs."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.datasets import load_digits

from command_line import call
from uncollapse.errors import InputError
from uncollapse.pilot import Outcome, PilotOptions, PilotResult, design, pilot
from uncollapse.pilot.free import LAYERS
from uncollapse.records import LayerScores, NetworkRun, TrialFile
from uncollapse.theory import calibrate, expected_variances
from uncollapse.training import build_problem, parse_config

BLOCK = {
    "data": {"source": "digits", "map": "parity", "limit": {"train": 600, "validation": 180}},
    "views": {"count": 2, "augmentation": "weak", "flip": False},
    "batch": {"sampler": "balanced", "per_class": 32},
    "encoder": {"kind": "convnet", "widths": [8, 16]},
    "head": {"dimension": 16},
    "loss": {"alpha": 0.0, "temperature": 0.1},
    "optimiser": {"learning_rate": 0.05},
    "epochs": 3,
    "device": "cpu",
}


def config(**changes):
    return parse_config(json.loads(json.dumps(BLOCK)) | changes)


def test_candidates_span_the_useful_range_and_are_single_changes():
    start, *others = design(build_problem(config()))
    assert (start.prediction.instance_variance, start.status) == (pytest.approx(0), "waiting")
    alphas = [c for c in others if c.change[0].key == "loss.alpha"]
    reached = [c.prediction.instance_variance for c in alphas]
    top = 1 - 1 / 2 + 0.5  # all weight on the self-supervised term spreads everything
    assert reached == pytest.approx([q * top for q in (0.1, 0.2, 0.35, 0.5)], rel=0.1)
    assert all(len(c.change) == 1 for c in others if c.change[0].key != "loss.keep")
    # At alpha = 0 neither temperature nor more instances or views prevent collapse.
    lost = [c.status for c in others if c.change[0].key != "loss.alpha" and not c.note]
    assert set(lost) == {"predicted-collapse"}
    assert not [c for c in others if c.change[0].key == "loss.temperature"]


def test_with_a_calibration_candidates_span_what_a_network_shows():
    problem = build_problem(config())
    runs = [
        NetworkRun(
            setting=problem.setting().with_(alpha=alpha, temperature=tau),
            steps=300,
            within_class_variance=within,
            between_class_variance=between,
            within_before=0.01,
            between_before=0.0004,
        )
        for alpha, tau, within, between in ((0.01, 0.1, 0.03, 0.25), (0.2, 0.3, 0.22, 0.69))
    ]
    calibration = calibrate(runs, draws=60)
    start, *others = design(problem, calibration)
    assert start.prediction.network.estimate < 0.06
    alphas = {c.change[0].after: c for c in others if c.change[0].key == "loss.alpha"}
    settings = [problem.setting().with_(alpha=alpha) for alpha in (0.0, 1.0, *alphas)]
    floor, top, *reached = expected_variances(calibration, settings)
    parts = [(w - floor) / (top - floor) for w in reached]
    assert parts == pytest.approx([0.1, 0.2, 0.35, 0.5], abs=0.06)
    of_theory = [c.change[0].after for c in design(problem)[1:] if "alpha" in c.name]
    assert min(alphas) > 3 * min(of_theory)
    assert all(c.prediction.network is not None for c in others)


def test_batches_are_tried_smaller_and_larger_by_whole_numbers():
    def tried(**batch):
        loss = {"alpha": 0.5, "temperature": 0.1}
        start = config(batch={"sampler": "balanced", **batch}, loss=loss)
        found = design(build_problem(start))
        return {c.change[0].after: c.size for c in found[1:] if c.change[0].key[:5] == "batch"}

    assert tried(per_class=32) == {8: 2, 16: 1, 64: 1, 128: 2}
    assert tried(per_class=6) == {3: 1, 12: 1, 24: 2}
    assert tried(per_class=90) == {45: 1}  # 180 of each of two classes are more than half the rows


def test_refused_before_anything_runs(tmp_path):
    folder = tmp_path / "pilot"
    with pytest.raises(InputError, match=r"a budget of .* or more"):
        pilot(config(), folder, options=PilotOptions(budget=0.1))
    data = {"source": "digits", "map": "parity", "split": {"validation": 0.0, "test": 0.2}}
    with pytest.raises(InputError, match="validation rows"):
        pilot(config(data=data), folder)
    data = BLOCK["data"] | {"map": {"all": [str(d) for d in range(10)]}}
    with pytest.raises(InputError, match="two classes"):
        pilot(config(data=data), folder)
    with pytest.raises(InputError, match="--downstream"):
        pilot(config(), folder, options=PilotOptions(objective="downstream"))
    assert not list(folder.glob("trials/*"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="other files"):
        pilot(config(), tmp_path / "other")


def test_a_change_that_is_not_confirmed_says_how_many_seeds_would_tell(tmp_path):
    """A runner invents that changes gain on validation rows, and on test rows by some seeds."""

    def invented(jobs, workers, ended):
        for job in jobs:
            gains = job.trial != "start" and (job.part == "validation" or job.seed % 3 == 0)
            objective = 0.5 + 0.2 * gains + 0.01 * (job.seed % 3)
            scores = LayerScores(0.1, 0.2, "healthy", task=0.9, objective=objective)
            both = {"projector": scores, "backbone": scores}
            free = {candidate.name: scores for candidate in job.free}
            yield Outcome(TrialFile(seed=job.seed, measured=both, free=free))

    found = pilot(config(), tmp_path / "pilot", runner=invented)
    assert found.verdict == "cannot-tell"
    assert [reason.code for reason in found.reasons] == ["UC801", "UC804", "UC803"]
    # Gains of 0, 0 and 20 points.
    assert "about 7 seeds of each setting would decide" in found.reasons[-1].text
    assert found.recommendation is None


@pytest.mark.parametrize("text", ["{", "[]", '{"measured": 1}', '{"kind": "pilot"}'])
def test_a_damaged_trial_is_named_before_anything_runs_and_stays(text, tmp_path):
    asked = {"config": config().plain(), "options": vars(PilotOptions()).copy()}
    del asked["options"]["workers"], asked["options"]["budget"]
    plan = dict.fromkeys(("epochs", "short", "seconds_per_epoch", "runs", "seconds"), 1)
    (tmp_path / "plan.json").write_text(json.dumps({"asked": asked, "plan": plan}))
    path = tmp_path / "trials" / "alpha-0.1" / "seed-1" / "measured-test-3.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(InputError, match=r"alpha-0\.1/seed-1/measured-test-3\.json"):
        pilot(config(), tmp_path, runner=lambda jobs, workers, ended: pytest.fail("it ran"))
    assert path.read_text() == text


GOALS = (
    pytest.param("least-change", marks=pytest.mark.slow),
    # The same pool and folder, and proposals that depend on results alone.
    pytest.param("best", marks=pytest.mark.case),
)


def words(folder, goal, workers):
    """A small pilot of two dials, whose configuration lies beside its folder."""
    start = folder.parent / "start.yaml"
    start.write_text(yaml.safe_dump(BLOCK))
    few = ("--seeds", "2", "--half-width", "0.2", "--dial", "alpha", "--dial", "batch")
    return ("pilot", str(start), *few, "--workers", workers, "--goal", goal, "-o", str(folder))


def in_process(words):
    return [sys.executable, "-m", "uncollapse", *words]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of a pilot with a goal, on one worker, that nothing stops."""

    @cache
    def folder_of(goal):
        folder = tmp_path_factory.mktemp("whole") / "pilot"
        assert call(*words(folder, goal, "1")).returncode == 0
        return folder

    return folder_of


def decided(folder):
    """What must not depend on workers, kills and time."""
    record = PilotResult.from_json((folder / "pilot.json").read_text()).to_dict()
    for trial in (record["start"], *record["candidates"]):
        trial.pop("seconds")
        for run in trial["runs"]:
            run.pop("seconds")
    kept = {k: record[k] for k in ("verdict", "reasons", "start", "candidates", "search")}
    return kept, record["recommendation"]


@pytest.mark.parametrize("goal", GOALS)
def test_killed_pilot_and_killed_worker_reach_what_an_undisturbed_one_does(
    goal, undisturbed, tmp_path
):
    whole, broken = undisturbed(goal), tmp_path / "broken"
    again = words(broken, goal, "2")
    process = subprocess.Popen(in_process(again), stdout=subprocess.DEVNULL)
    wait_for(lambda: list(broken.glob("trials/*/*/measured-*")))
    marks = wait_for(lambda: list(broken.glob("trials/*/*/running")))
    os.kill(int(marks[0].read_text()), signal.SIGKILL)  # a worker: the pilot goes on
    count = len(list(broken.glob("trials/*/*/measured-*")))
    wait_for(lambda: len(list(broken.glob("trials/*/*/measured-*"))) > count + 1)
    process.send_signal(signal.SIGKILL)  # the pilot itself
    process.wait()
    kept = {p: p.stat().st_mtime_ns for p in broken.glob("trials/*/*/measured-*")}
    assert call(*again).returncode == 0
    assert all(p.stat().st_mtime_ns == when for p, when in kept.items())
    (a, recommended), (b, resumed) = decided(whole), decided(broken)
    assert a == b
    assert (recommended is None) == (resumed is None)
    if recommended:
        assert recommended["trial"] == resumed["trial"]
        assert recommended["change"] == resumed["change"]
        written = parse_config(yaml.safe_load((whole / "recommended.yaml").read_text()))
        changed = written != config()
        # What needs no training leaves the start's setting as it is.
        assert changed == bool(recommended["change"])


def wait_for(what, seconds=600):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@pytest.mark.case
def test_ray_gives_the_same_runs(undisturbed, tmp_path):
    """A local cluster; its processes import this very package."""
    line = in_process(words(tmp_path / "ray", "least-change", "2"))
    subprocess.run([*line, "--ray"], check=True, capture_output=True)
    assert decided(undisturbed("least-change"))[0] == decided(tmp_path / "ray")[0]


@pytest.mark.case
@pytest.mark.parametrize(("label", "tau"), [("parity", 0.5), ("size", 0.3)])
def test_a_good_setting_is_not_changed(label, tau, tmp_path):
    """Half of the weight on the self-supervised term, medium augmentation, pixels as a table."""
    digits = load_digits()
    np.savez(
        tmp_path / "digits.npz",
        pixels=(digits.data / 16).astype(np.float32),
        parity=digits.target % 2,
        size=np.digitize(digits.target, [4, 7]),
        digit=digits.target,
    )
    data = {"source": "arrays", "path": "digits.npz", "inputs": "pixels", "kind": "vector"}
    data |= {"label": label, "fine": ["digit"], "split": {"validation": 0.3, "test": 0.2}}
    start = config(
        data=data,
        views={"count": 2, "augmentation": "medium"},
        batch={"sampler": "balanced", "per_class": 64},
        encoder={"kind": "mlp", "widths": [128, 64]},
        head={"dimension": 32},
        loss={"alpha": 0.5, "temperature": tau},
        optimiser={"kind": "adamw", "learning_rate": 0.003, "weight_decay": 0.05},
        epochs=20,
    )
    found = pilot(start, tmp_path / "pilot", base=tmp_path)
    # Kept where every candidate is seen to gain too little, which three seeds may not show.
    codes = {"keep": "UC802", "cannot-tell": "UC803"}
    assert codes[found.verdict] in [reason.code for reason in found.reasons]
    assert found.recommendation is None
    assert not (tmp_path / "pilot" / "recommended.yaml").exists()


@pytest.mark.parametrize("goal", ["retention", "other-view", "downstream"])
def test_objectives_without_finer_labels(goal):
    from uncollapse.data import Augmenter, training_scales
    from uncollapse.pilot.free import Free, free_candidates
    from uncollapse.pilot.goal import objective
    from uncollapse.pilot.scores import evaluate

    problem = build_problem(config())
    viewer = Augmenter(
        problem.config.views,
        problem.data.inputs.kind,
        problem.data.inputs.shape,
        training_scales(problem.data.inputs, problem.rows),
    )
    columns = {"downstream": ("again",), "retention": ("inputs", "backbone")}.get(goal, ())
    others = {"again": problem.data} if goal == "downstream" else {}
    free = Free.of(problem, free_candidates(problem, PilotOptions()), columns)
    wanted = objective(goal, columns)
    found = evaluate(problem, "validation", wanted, viewer=viewer, downstream=others, free=free)
    base = {"inputs", "untrained", "projector-beside-inputs"}
    assert found.keys() == base | {"projector-centred", "projector-whitened", *LAYERS}
    for layer in found:
        if goal == "retention" and layer in base:
            assert found[layer].objective is None  # it would be held against itself
            continue
        if goal == "retention":
            assert found[layer].objective == found[layer].retention["inputs"]
            assert ("backbone" in found[layer].retention) == (layer != "backbone")
        assert 0 < found[layer].objective <= 1
        assert 0.5 < found[layer].task <= 1
        if goal == "downstream":
            assert found[layer].objective == found[layer].downstream["again"]


def test_the_whole_path_is_importable_without_torch():
    code = (
        "import sys, uncollapse; assert 'torch' not in sys.modules and 'optuna' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
