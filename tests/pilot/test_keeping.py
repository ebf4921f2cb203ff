"""Keep as a candidate: which reference, which weights, and what is not known without labels."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.datasets import load_digits
from test_free import runner_of
from test_pilot import config
from test_search import PLAN

from uncollapse.errors import InputError
from uncollapse.pilot import Outcome, PilotOptions, design, pilot
from uncollapse.pilot.dials import space
from uncollapse.pilot.doubt import doubted
from uncollapse.pilot.goal import objective
from uncollapse.pilot.keeping import reference_at_hand
from uncollapse.records import (
    DIALS,
    LayerScores,
    PilotReason,
    PilotResult,
    SettingChange,
    Trial,
    TrialFile,
    TrialRun,
)
from uncollapse.training import build_problem, parse_config

LOSS = {"alpha": 0.0, "temperature": 0.1}
INPUT = SettingChange("loss.reference", None, "input")


def candidates(*dials, **changes):
    return design(build_problem(config(**changes)), dials=dials or DIALS)[1:]


def test_weights_are_tried_with_the_reference_whatever_is_predicted():
    found = candidates("keep")
    assert [(trial.name, trial.change) for trial in found] == [
        (f"keep-{weight:g}", (SettingChange("loss.keep", 0.0, weight), INPUT))
        for weight in (0.3, 1.0, 3.0)
    ]
    assert [trial.size for trial in found] == pytest.approx([np.log2(1.3), 1, 2])
    # At alpha 0 the loss without keep is predicted to collapse.
    assert {trial.status for trial in found} == {"waiting"}
    assert all("without the kept reference" in trial.note for trial in found)
    assert {trial.name for trial in found} < {trial.name for trial in candidates()}
    # Where one is kept already: other weights, and none.
    kept = LOSS | {"keep": 1.0, "reference": "input"}
    again = candidates("keep", loss=kept)
    assert [trial.name for trial in again] == ["keep-0.3", "keep-0", "keep-3"]
    assert all(len(trial.change) == 1 for trial in again)
    assert next(t for t in again if t.name == "keep-0").status == "predicted-collapse"


def test_which_reference_is_at_hand():
    stored = {"source": "digits", "map": "parity", "reference": {"path": "r.npz"}}
    given = {"kind": "convnet", "weights": "w.safetensors"}
    for changes, wanted in (
        ({}, "input"),
        ({"data": stored}, "stored"),
        ({"encoder": given}, "base"),
        ({"encoder": given | {"frozen": True}}, "backbone"),
        ({"encoder": given | {"frozen": True}, "head": {"layers": 0}}, None),
        ({"data": stored, "loss": LOSS | {"reference": "input"}}, "input"),
        ({"loss": LOSS | {"reference": "self-supervised"}}, None),  # another training
        ({"loss": LOSS | {"reference": "self-supervised", "keep": 1}}, "self-supervised"),
        ({"batch": {"sampler": "balanced", "per_class": 3}}, None),
    ):
        assert reference_at_hand(config(**changes)) == wanted


def test_the_grid_has_keep_beside_the_other_dials():
    found = space(build_problem(config()), PLAN, dials=("alpha", "keep", "batch"))
    assert found.dials["loss.keep"] == (0.0, 1.0)
    trials = {trial.name: trial for trial in found.trials}
    both = trials["alpha-0.5+keep-1"]
    assert [change.key for change in both.change] == ["loss.alpha", "loss.keep", "loss.reference"]
    assert "keep-1" in trials
    assert found.features.shape == (len(trials), 6)
    assert not any("temperature" in name for name in trials)
    few = build_problem(config(batch={"sampler": "balanced", "per_class": 6}))
    names = [trial.name for trial in space(few, PLAN).trials]
    assert "alpha-0.5+per-class-3" in names
    assert not [name for name in names if "per-class-3" in name and "keep" in name]


def test_a_dial_that_is_none():
    with pytest.raises(InputError, match=r"dials of alpha, temperature, .*found \('tau',\)"):
        PilotOptions(dials=("tau",))


def test_keep_is_proven_and_recommended_as_any_other_change(tmp_path):
    """A runner invents that keep gains more than alpha."""
    ids = [f"row-{k}" for k in range(200)]
    rng = np.random.default_rng(0)
    rows = {"x": rng.standard_normal((200, 5)), "y": np.arange(200) % 2, "id": ids}
    np.savez(tmp_path / "x.npz", fine=np.arange(200) % 4, **rows)
    np.savez(tmp_path / "r.npz", z=rows["x"][:, :3].astype(np.float32), id=ids)
    data = {"source": "arrays", "path": "x.npz", "inputs": "x", "kind": "vector", "label": "y"}
    data |= {"id": "id", "fine": ["fine"], "reference": {"path": "r.npz", "id": "id"}}
    setting = config(
        data=data,
        encoder={"kind": "mlp", "widths": [8]},
        batch={"per_class": 8, "sampler": "balanced"},
    )
    worth = {"keep-1/projector": 0.8, "change/projector": 0.6}
    output = tmp_path / "elsewhere" / "pilot"
    found = pilot(setting, output, base=tmp_path, runner=runner_of(worth))
    assert (found.verdict, found.recommendation.trial) == ("change", "keep-1")
    said = found.reasons[0].text
    assert "loss.keep 0.0 -> 1.0, loss.reference none -> stored: " in said
    assert any(point.trial == "keep-1" and point.front for point in found.trade)
    assert "UC810" not in [reason.code for reason in found.reasons]
    written = yaml.safe_load((output / "recommended.yaml").read_text())
    assert (written["loss"]["keep"], written["loss"]["reference"]) == (1.0, "stored")
    assert Path(written["data"]["reference"]["path"]) == (tmp_path / "r.npz").resolve()
    assert (
        PilotResult.read(output / "pilot.json").recommendation.change == found.recommendation.change
    )


def test_a_smaller_weight_has_its_turn_where_larger_ones_cost_the_label(tmp_path):
    """With the first seed no weight costs anything; with the others those that gain most do."""

    def runner(jobs, workers, ended):
        for job in jobs:
            worth = {"keep-0.3": 0.7, "keep-1": 0.8, "keep-3": 0.9}.get(job.trial, 0.5)
            costs = worth >= 0.8 and job.seed != 0
            task = 0.9 - 0.03 * costs + 0.0005 * (job.seed % 3)
            scores = LayerScores(0.1, 0.2, "healthy", task, objective=worth + 0.002 * job.seed % 1)
            both = {"projector": scores, "backbone": scores}
            free = {c.name: LayerScores(task=task, objective=0.5) for c in job.free}
            run = TrialFile(seed=job.seed, measured=both, free=free, epochs=job.until)
            yield Outcome(run)

    options = PilotOptions(dials=("keep", "alpha"), margin=0.01)
    found = pilot(config(), tmp_path / "pilot", options=options, runner=runner)
    runs = {trial.name: len(trial.runs) for trial in found.candidates if trial.kind != "free"}
    assert (runs["keep-0.3"], runs["keep-1"], runs["keep-3"]) == (3, 3, 3)
    assert found.recommendation.trial == "keep-0.3"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("UC810", "the reference stored has no more in common with the inputs"),
        ("UC811", "the reference stored differ far less than the inputs do"),
    ],
)
def test_a_reference_of_other_rows_or_a_collapsed_one_is_not_tried(tmp_path, code, said):
    digits, rng = load_digits(), np.random.default_rng(0)
    rows = rng.permutation(digits.data)
    if code == "UC811":
        rows = digits.data + 500 * (digits.target % 2)[:, None]
    np.savez(tmp_path / "r.npz", z=rows.astype(np.float32))
    data = {"source": "digits", "map": "parity", "reference": {"path": str(tmp_path / "r.npz")}}
    found = pilot(
        config(data=data), tmp_path / "pilot", runner=runner_of({"change/projector": 0.6})
    )
    assert found.recommendation.change[0].key == "loss.alpha"
    assert not [trial for trial in found.candidates if trial.name.startswith("keep")]
    assert found.reasons[-1].code == code
    assert said in found.reasons[-1].text


def decided(change, views, columns=("inputs",)):
    """What is said of a change that gains retention, and other views by seed of both."""

    def trial(name, retention, numbers, change=()):
        runs = tuple(
            TrialRun(
                seed=seed,
                measured={
                    "projector": LayerScores(
                        task=0.9,
                        objective=retention,
                        retention=dict.fromkeys(columns, retention),
                        other_view=number,
                    )
                },
            )
            for seed, number in enumerate(numbers)
        )
        return Trial(name=name, change=change, runs=runs)

    start = trial("start", 0.1, views[0])
    chosen = trial(change[0].key, 0.9, views[1], change)
    first = PilotReason("UC801", "it gains")
    options, goal = PilotOptions(), objective("retention", columns)
    verdict, reasons, left = doubted(
        ("change", [first], chosen), start, [chosen], goal, config(), options
    )
    return verdict, [reason.code for reason in reasons], left is not None, reasons[-1].text


def test_what_keeps_its_judge_is_held_against_another_number():
    keep = (SettingChange("loss.keep", 0.0, 1.0), INPUT)
    before = (0.2, 0.21, 0.19)
    verdict, codes, stays, text = decided(keep, (before, (0.6, 0.62, 0.61)))
    assert (verdict, codes, stays) == ("change", ["UC801", "UC809"], True)
    assert "cannot be known without finer labels; by a number" in text
    assert "it changes by +41.0 [" in text
    # No more is said where that number is not known, and nothing is recommended where it falls.
    verdict, codes, stays, text = decided(keep, ((None,) * 3, (None,) * 3))
    assert (verdict, codes, stays) == ("change", ["UC801", "UC809"], True)
    assert text.endswith("without finer labels")
    verdict, codes, stays, text = decided(keep, (before, (0.1, 0.11, 0.12)))
    assert (verdict, codes, stays) == ("cannot-tell", ["UC809"], False)
    assert "loses by a number that the loss does not raise" in text
    # Of a change that keeps nothing, or something else than the judge, nothing is said.
    for change in (
        (SettingChange("loss.alpha", 0.0, 0.5),),
        (keep[0], SettingChange("loss.reference", None, "stored")),
    ):
        assert decided(change, (before, (0.1, 0.11, 0.12)))[:3] == ("change", ["UC801"], True)


@pytest.mark.case
def test_on_digits_keep_is_recommended_where_it_alone_may_change(tmp_path):
    few = PilotOptions(seeds=2, dials=("keep",), half_width=0.2)
    found = pilot(config(epochs=8), tmp_path / "pilot", options=few)
    trained = [trial for trial in found.candidates if trial.kind != "free" and trial.gain]
    assert trained
    assert min(trial.gain.estimate for trial in trained) > 0.1
    record = json.loads((tmp_path / "pilot" / "pilot.json").read_text())
    assert record["conditions"]["options"]["dials"] == "keep"
    block = yaml.safe_load((tmp_path / "pilot" / "recommended.yaml").read_text())
    assert parse_config(block).epochs == 8
