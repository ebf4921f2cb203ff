"""What needs no training: which there is, what it may be taken for, and what is said of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from test_pilot import config

from declared import TENSORS, arrays, safetensors_file
from uncollapse import fit_linear_map
from uncollapse.errors import InputError
from uncollapse.pilot import Outcome, PilotOptions, PilotResult, pilot
from uncollapse.pilot.doubt import disagreement
from uncollapse.pilot.free import Free, copy_map, free_candidates
from uncollapse.pilot.goal import choose_goal
from uncollapse.pilot.trade import trade
from uncollapse.records import LayerScores, Trial, TrialFile, TrialRun
from uncollapse.training import build_problem, embed_rows, joined

OLD = Path(__file__).parent.parent / "records" / "old" / "pilot"
VECTORS = {"source": "arrays", "inputs": "x", "kind": "vector", "label": "y", "path": "x.npz"}


def names(options=None, folder=None, **changes):
    """Free candidates, and those of them that can be deployed."""
    options = options or PilotOptions()
    found = free_candidates(build_problem(config(**changes), base=folder), options)
    trials = [candidate.trial(options) for candidate in found]
    return [t.name for t in trials], {t.name for t in trials if t.deployable}


def test_which_there_are_and_what_can_be_deployed(tmp_path):
    images = ["backbone", "projector-centred", "projector-whitened", "inputs", "untrained"]
    every, projector = names()
    assert every == [*images, "projector-beside-inputs"]
    assert projector == {"projector-centred", "projector-whitened"}
    every, backbone = names(PilotOptions(deploy="backbone"))
    mapped = {"backbone-centred", "backbone-whitened"}
    assert backbone == {"backbone", "inputs", "untrained", *mapped}
    assert set(every) - backbone == {*projector, "projector-beside-inputs"}
    every, anywhere = names(PilotOptions(layer="backbone", deploy="any"))
    assert anywhere == set(every) == {"projector", *projector, *mapped} | {
        "inputs", "untrained", "backbone-beside-inputs",
    }  # fmt: skip
    # Without a head both layers are one.
    every, either = names(head={"layers": 0})
    assert set(every) - either == {"projector-beside-inputs"}
    assert "backbone" not in every

    rows = np.random.default_rng(0).standard_normal((80, 5)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=rows, y=np.arange(80) % 2)
    small = {
        "data": VECTORS,
        "views": {"count": 2},
        "batch": {"sampler": "balanced", "per_class": 8},
    }
    mlp = {"kind": "mlp", "widths": [8]}
    every, _ = names(folder=tmp_path, encoder=mlp, **small)
    assert "untrained" not in every  # features come from somewhere: they are the base
    every, _ = names(folder=tmp_path, encoder=mlp | {"frozen": True}, **small)
    assert every[-2:] == ["inputs", "projector-beside-backbone"]


def test_without_finer_labels_the_base_is_what_is_held_against(tmp_path):
    def goal(options=None, downstream=(), **changes):
        problem = build_problem(config(**changes), base=tmp_path)
        return choose_goal(problem, options or PilotOptions(), downstream)

    rows = np.random.default_rng(0).standard_normal((80, 5)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=rows, y=np.arange(80) % 2)
    given = {"data": VECTORS, "batch": {"sampler": "balanced", "per_class": 8}}
    mlp = {"kind": "mlp", "widths": [8]}
    assert goal().name == "within-class"
    assert goal(encoder=mlp, **given).columns == ("inputs", "backbone")
    assert goal(PilotOptions(deploy="any"), encoder=mlp, **given).columns == ("inputs",)
    assert goal(downstream=["more"], encoder=mlp, **given).name == "downstream"
    other = goal(PilotOptions(objective="other-view"), encoder=mlp, **given)
    assert other.name == "other-view"
    frozen = mlp | {"frozen": True}
    assert goal(encoder=frozen, **given).columns == ("backbone",)
    with pytest.raises(InputError, match="a layer that training changes"):
        goal(PilotOptions(layer="backbone"), encoder=frozen, **given)


def test_maps_are_fitted_on_training_rows_alone_without_labels(tmp_path):
    problem = build_problem(config())
    free = Free.of(problem, free_candidates(problem, PilotOptions()))
    rows = np.concatenate([problem.data.rows("train"), problem.data.rows("validation")])
    layers = joined(embed_rows(free.model(problem.model), problem.data, rows, problem.augmenter))
    layers = {name: values[:, 0] for name, values in layers.items()}
    n = len(problem.data.rows("train"))
    train = {name: values[:n] for name, values in layers.items()}
    every = free.fitted(train)(layers)
    # Of one row alone the same, so nothing is learnt from the rows that are tested.
    one = free.fitted(train)({name: values[-1:] for name, values in layers.items()})
    for name, values in every.items():
        assert one[name][0] == pytest.approx(values[-1], abs=1e-5)
    expected = fit_linear_map(train["projector"])(layers["projector"])
    assert every["projector-whitened"] == pytest.approx(expected, abs=1e-6)
    beside = every["projector-beside-inputs"]
    assert np.sum(beside**2, axis=1) == pytest.approx(2 * np.ones(len(rows)))
    free.write_maps(problem, tmp_path)
    kept = load_file(tmp_path / "maps.safetensors")
    unit = layers["projector"] / np.linalg.norm(layers["projector"], axis=1, keepdims=True)
    mapped = (unit - kept["projector-whitened.mean"]) @ kept["projector-whitened.matrix"]
    assert mapped == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("ridge", [0.01, 0.1])
def test_whitening_enlarges_what_is_narrow_and_no_more_than_the_ridge_allows(ridge):
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((4000, 6)) * [1, 0.3, 0.1, 0.03, 0.01, 0] + [0, 0, 0, 0, 0, 5]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    before = np.linalg.eigvalsh(np.cov(unit.T))[::-1]
    after = np.linalg.eigvalsh(np.cov(fit_linear_map(rows, ridge=ridge)(rows).T))[::-1]
    assert after == pytest.approx(before / (before + ridge * before[0]), abs=1e-5)
    for refused in ({"ridge": 0}, {"kind": "pca"}):
        with pytest.raises(InputError):
            fit_linear_map(rows, **refused)
    with pytest.raises(InputError, match="two rows"):
        fit_linear_map(rows[:1])


@pytest.mark.parametrize("said", TENSORS.values(), ids=TENSORS)
def test_a_map_that_its_file_does_not_hold(tmp_path, said):
    (tmp_path / "maps.safetensors").write_bytes(safetensors_file("embedding", arrays(), said))
    with pytest.raises(InputError, match=r"the maps in .*deserializing header"):
        copy_map(tmp_path, "embedding", tmp_path / "map.safetensors")
    assert not (tmp_path / "map.safetensors").exists()


@pytest.mark.parametrize(
    ("mean", "words"), [(None, "x.mean"), (np.zeros(3), r"\(3,\) and \(2, 2\)")]
)
def test_a_map_in_part_is_none(tmp_path, mean, words):
    held = {"x.matrix": np.eye(2)} | ({} if mean is None else {"x.mean": mean})
    save_file(held, tmp_path / "maps.safetensors")
    with pytest.raises(InputError, match=words):
        copy_map(tmp_path, "x", tmp_path / "map.safetensors")


def keep_maps(job):
    """Of two numbers."""
    parts = {"mean": np.zeros(2), "matrix": np.eye(2)}
    maps = {f"{c.name}.{part}": values for c in job.free for part, values in parts.items()}
    job.folder.mkdir(parents=True, exist_ok=True)
    save_file(maps, job.folder / "maps.safetensors")


def runner_of(objectives, tasks=(), spread=0.004):
    """Runs whose objective goes by the setting, "NAME/LAYER" or the free alternative."""
    tasks = dict(tasks)

    def runner(jobs, workers, ended):
        for job in jobs:
            noise = spread * ((job.seed * 7 + len(job.trial)) % 3 - 1)

            def scores(*keys, noise=noise):
                value = next((objectives[key] for key in keys if key in objectives), 0.5)
                task = next((tasks[key] for key in keys if key in tasks), 0.9)
                return LayerScores(0.1, 0.2, "healthy", task + noise / 10, objective=value + noise)

            kind = "start" if job.trial == "start" else "change"
            measured = {
                layer: scores(f"{job.trial}/{layer}", f"{kind}/{layer}")
                for layer in ("projector", "backbone")
            }
            free = {c.name: scores(c.name) for c in job.free}
            if job.free and job.keep:
                keep_maps(job)
            yield Outcome(TrialFile(seed=job.seed, measured=measured, free=free))

    return runner


def found_by(tmp_path, objectives, tasks=(), **options):
    changes = options.pop("changes", {})
    return pilot(
        config(**changes),
        tmp_path / "pilot",
        options=PilotOptions(**options),
        runner=runner_of(objectives, tasks),
    )


def codes(found):
    return [reason.code for reason in found.reasons]


def test_a_free_layer_is_recommended_where_it_can_be_deployed(tmp_path):
    worth = {"start/backbone": 0.8, "change/projector": 0.78, "change/backbone": 0.802}
    found = found_by(tmp_path, worth, deploy="any")
    assert (found.verdict, codes(found)) == ("change", ["UC801", "UC801", "UC807"])
    chosen = found.recommendation
    # What the best trained setting adds is said, and chooses nothing.
    assert chosen.next.startswith("alpha")
    assert chosen.confirmed.over_free.estimate == pytest.approx(0.002, abs=0.01)
    assert (chosen.trial, chosen.change, chosen.layer, chosen.map) == (
        "backbone",
        (),
        "backbone",
        "",
    )
    assert chosen.confirmed.gain.estimate == pytest.approx(0.3, abs=0.01)
    text = (tmp_path / "pilot" / "recommended.yaml").read_text()
    assert "# No training: take the embedding from the backbone" in text
    assert "alpha: 0.0\n" in text
    assert PilotResult.from_json(found.to_json()) == found


def test_what_is_gained_over_the_best_that_is_free(tmp_path):
    worth = {"start/backbone": 0.9, "change/projector": 0.7, "projector-whitened": 0.6}
    found = found_by(tmp_path, worth, layer="projector")
    chosen = found.recommendation
    assert (found.verdict, found.deploy, chosen.free) == (
        "change",
        "projector",
        "projector-whitened",
    )
    assert chosen.change[0].key == "loss.alpha"
    for interval in (chosen.over_free, chosen.confirmed.over_free):
        assert interval.low < 0.1 < interval.high
        assert interval.estimate == pytest.approx(0.1, abs=0.01)
    assert codes(found) == ["UC801", "UC801", "UC807"]
    # Where only a little is gained over it, training it is not worth a change.
    found = found_by(tmp_path / "2", worth | {"projector-whitened": 0.705})
    assert found.recommendation.trial == "projector-whitened"
    assert load_file(found.recommendation.map).keys() == {"mean", "matrix"}


def test_a_base_above_every_trained_setting_is_said_whether_or_not_it_can_be_deployed(tmp_path):
    worth = {"inputs": 0.9, "change/projector": 0.7, "start/backbone": 0.8}
    found = found_by(tmp_path, worth)
    assert codes(found)[-1] == "UC806"
    assert "cannot be deployed here" in found.reasons[-1].text
    assert found.recommendation.change
    found = found_by(tmp_path / "2", worth, deploy="any")
    assert (codes(found)[-1], found.recommendation.trial) == ("UC806", "inputs")
    # One that costs the training label is said and not recommended.
    found = found_by(tmp_path / "3", worth, {"inputs": 0.8}, deploy="any")
    assert (codes(found)[-1], found.recommendation.trial) == ("UC806", "backbone")


def test_what_cannot_be_trained_is_not_known(tmp_path):
    """Nothing but the start: every other setting fails."""

    def runner(jobs, workers, ended):
        known = runner_of({})(jobs, workers, ended)
        failed = Outcome(None, "no memory")
        return [
            one if job.trial == "start" else failed for job, one in zip(jobs, known, strict=True)
        ]

    found = pilot(config(), tmp_path / "pilot", runner=runner)
    assert (found.verdict, codes(found)) == ("cannot-tell", ["UC803"])
    assert "cannot know" in found.reasons[0].text


def test_a_pilot_of_before_is_gone_on_with_and_its_start_is_measured_again(tmp_path):
    folder = tmp_path / "pilot"
    asked = {"config": config().plain(), "options": vars(PilotOptions()).copy()}
    for key in ("workers", "budget", "deploy"):
        del asked["options"][key]
    plan = {"epochs": 3, "short": 1, "seconds_per_epoch": 1, "runs": 1, "seconds": 1}
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps({"asked": asked, "plan": plan}))
    run = folder / "trials" / "start" / "seed-0"
    run.mkdir(parents=True)
    shutil.copy(OLD / "measured-validation-30.json", run / "measured-validation-3.json")
    jobs_left = []

    def runner(jobs, workers, ended):
        jobs_left.extend(job for job in jobs if job.read() is None)
        return runner_of({})(jobs, workers, ended)

    pilot(config(), folder, runner=runner)
    assert (jobs_left[0].trial, jobs_left[0].seed) == ("start", 0)
    # Runs that another objective measured are not mixed with these.
    former = json.loads((folder / "plan.json").read_text())
    former["objective"], former["asked"]["options"]["deploy"] = "", None
    (folder / "plan.json").write_text(json.dumps(former))
    with pytest.raises(InputError, match="configuration, options and calibration"):
        pilot(config(), folder, options=PilotOptions(objective="retention"))
    former["asked"]["options"]["objective"] = "retention"
    (folder / "plan.json").write_text(json.dumps(former))
    with pytest.raises(InputError, match="earlier version, by other-view"):
        pilot(config(), folder, options=PilotOptions(objective="retention"))


def points(*numbers):
    """A trial at the projector for each (objective, task, runs)."""
    return [
        Trial(
            name=f"t{k}",
            mean={"projector": {"objective": a, "task": b}},
            runs=tuple(TrialRun(seed=seed, measured={}) for seed in range(runs)),
        )
        for k, (a, b, runs) in enumerate(numbers)
    ]


def test_the_front_is_what_nothing_beats_in_both(tmp_path):
    rng = np.random.default_rng(2)
    numbers = [(*np.round(rng.random(2), 1).tolist(), 2) for _ in range(40)]
    start, *others = points(*numbers, (1.0, 1.0, 1))
    found = trade(start, others, PilotOptions())
    for point in found[:-1]:
        beaten = any(
            a >= point.objective and b >= point.task and (a, b) != (point.objective, point.task)
            for a, b, _ in numbers
        )
        assert point.front == (not beaten)
    assert not found[-1].front  # of one run only
    assert not any(p.front for p in trade(start, others, PilotOptions(deploy="backbone")))


def kept(name, first, second):
    """A trial with its retention against two references, seed by seed."""
    scores = [LayerScores(retention={"a": x, "b": y}) for x, y in zip(first, second, strict=True)]
    runs = [TrialRun(seed=k, measured={"projector": each}) for k, each in enumerate(scores)]
    return Trial(name=name, runs=tuple(runs))


def test_two_references_that_prefer_other_settings_cannot_be_followed():
    small = kept("small", (0.5, 0.51, 0.52), (0.5, 0.51, 0.52))
    large = kept("large", (0.4, 0.41, 0.42), (0.7, 0.71, 0.72))
    less = kept("less", (0.3, 0.31, 0.32), (0.3, 0.31, 0.32))
    options = PilotOptions()
    found = disagreement([small, large], ("a", "b"), options)
    assert (found.code, found.message.values["other"]) == ("UC808", "large")
    for agreed in ([small, less], [small], [large, less]):
        assert disagreement(agreed, ("a", "b"), options) is None
    assert disagreement([small, large], ("a",), options) is None


def test_by_retention_nothing_is_said_to_be_kept(tmp_path):
    """Settings that are alike: with finer labels "keep", without them it is not known."""
    assert found_by(tmp_path, {}).verdict == "keep"
    found = found_by(tmp_path / "2", {}, objective="retention")
    assert (found.verdict, codes(found)) == ("cannot-tell", ["UC808"])
    assert "retention cannot know" in found.reasons[0].text
