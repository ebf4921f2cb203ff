"""Stress tests: judging by closed forms, whole runs, resuming, the command."""

import json
from dataclasses import replace
from math import sqrt
from pathlib import Path
from statistics import variance

import numpy as np
import pytest

from command_line import call
from uncollapse import InputError, StressOptions, StressResult, stress
from uncollapse.pilot import Outcome
from uncollapse.records import (
    Damage,
    Interval,
    StressDose,
    StressFile,
    StressRun,
    StressScores,
)
from uncollapse.statistics import t_quantile
from uncollapse.stress.foretold import least_alpha
from uncollapse.stress.jobs import folder_of
from uncollapse.stress.judge import changes_from, compared, first_of, state_of
from uncollapse.training import parse_config

BLOCK = {
    "data": {"source": "digits", "map": "parity", "limit": 500},
    "views": {"augmentation": "weak", "flip": False},
    "batch": {"sampler": "balanced", "per_class": 32},
    "encoder": {"kind": "convnet", "widths": [8, 16]},
    "head": {"dimension": 16},
    "loss": {"alpha": 0.2, "temperature": 0.1},
    "epochs": 2,
    "device": "cpu",
}


def scored(finer, training=0.9, verdict="not-collapsed"):
    return StressScores(
        finer=finer, training_label=training, smallest_class=training, verdict=verdict
    )


def dose(name, values, **more):
    runs = tuple(StressRun(seed=s, scores=scored(v)) for s, v in enumerate(values))
    return StressDose(name=name, runs=runs, **more)


def test_intervals_are_those_of_one_variance_and_all_comparisons():
    a, b, c = [0.80, 0.82, 0.84], [0.5, 0.6, 0.7], [0.81, 0.80, 0.79]
    first, second = changes_from([(a, b), (a, c)], 0.95)
    pooled = (variance(a) + variance(b) + variance(c)) / 3
    half = t_quantile(6, 1 - 0.05 / 2) * sqrt(2 * pooled / 3)
    assert (first.estimate, second.estimate) == pytest.approx((-0.22, -0.02))
    assert [first.half_width, second.half_width] == pytest.approx([half, half])


def test_states_and_what_breaks_first():
    clean = dose("clean", [0.8] * 3)

    def under(finer, training, **more):
        changed = {"finer_change": Interval(*finer), "training_change": Interval(*training)}
        return replace(dose("x", [0.5] * 3), **changed, **more)

    nothing = (0.0, -0.01, 0.01)
    assert state_of(under(nothing, nothing), clean, 0.05) == "holds"
    assert state_of(under((-0.1, -0.2, -0.01), nothing), clean, 0.05) == "breaks"
    assert state_of(under((-0.1, -0.2, 0.01), nothing), clean, 0.05) == "cannot-tell"
    # Seen to fall, but by less than the margin as estimated.
    assert state_of(under((-0.03, -0.06, -0.01), nothing), clean, 0.05) == "cannot-tell"
    assert state_of(under(nothing, nothing, verdict="collapsed"), clean, 0.05) == "breaks"
    broken = {"state": "breaks", "training_change": Interval(0.0)}
    doses = [
        replace(
            dose(f"d{n}", [0]),
            damage=Damage(kind, "1", order=order),
            finer_change=Interval(-loss),
            **broken,
        )
        for n, (kind, order, loss) in enumerate(
            [("rows", 1, 0.5), ("imbalance", 0, 0.1), ("label-noise", 0, 0.2), ("width", 0, 0.9)]
        )
    ]
    assert first_of(doses).name == "d2"
    assert first_of([replace(doses[0], state="holds")]) is None


def test_comparisons_leave_out_what_was_not_measured():
    clean, worse = dose("clean", [0.8, 0.9]), dose("rows-0.1", [0.4, 0.5])
    failed = dose("rows-0.01", [])
    first, second = compared([(clean, worse), (clean, failed)], 0.95)
    assert first.finer_change.estimate == pytest.approx(-0.4)
    assert second.finer_change is None


def test_the_least_alpha_is_found_to_two_digits():
    assert least_alpha(0.1, 0.25, lambda a: a**2) == pytest.approx(0.5, abs=0.011)
    assert least_alpha(0.1, 2.0, lambda a: a**2) is None


def in_turn(jobs, workers, ended):
    outcomes = []
    for job in jobs:
        try:
            outcomes.append(Outcome(job.run()))
        except InputError as error:
            outcomes.append(Outcome(None, str(error)))
        ended(job)
    return outcomes


@pytest.fixture(scope="module")
def tested(tmp_path_factory):
    """A whole test, and its folder."""
    folder = tmp_path_factory.mktemp("stress") / "test"
    options = StressOptions(
        imbalance=(10,), label_noise=(0.2,), corrupt=("noise",), augmentation=("weak", "1"), seeds=2
    )
    return stress(parse_config(BLOCK), folder, options=options, runner=in_turn), folder, options


def test_a_whole_test_says_every_number(tested):
    result, folder, _ = tested
    names = [d.name for d in result.doses]
    corrupted = [f"corrupt-noise-{s}" for s in range(1, 6)]
    # Weak is what the setting has: nothing to run.
    assert names == ["clean", "imbalance-10", "label-noise-0.2", *corrupted, "augmentation-1"]
    for one in result.doses:
        assert [run.seed for run in one.runs] == [0, 1], one.name
        for value in (one.finer, one.training_label, one.smallest_class, one.instance_variance):
            assert value.estimate == pytest.approx(value.estimate)
            assert value.low <= value.high
        assert (one.finer_change is None) == (one.name == "clean")
    small = result.dose("imbalance-10")
    assert str(small.changes[0]).startswith("batch.per_class 32 -> ")
    assert small.predicted.instance_variance < result.dose("clean").predicted.instance_variance
    noisy = result.dose("label-noise-0.2")
    assert noisy.wrong_labels == pytest.approx(0.2 * noisy.rows, abs=1)
    # Corruptions change no training: the same runs, tested again.
    assert result.dose("corrupt-noise-5").runs[0].seconds == result.dose("clean").runs[0].seconds
    assert result.dose("corrupt-noise-5").predicted is None
    assert StressResult.read(folder / "stress.json") == result
    assert result.first in {"", *names}


def test_runs_under_a_damage_have_as_many_steps(tested):
    _, folder, _ = tested

    def steps(name):
        lines = (folder / "trials" / "start" / name / "seed-0" / "metrics.jsonl").read_text()
        return json.loads(lines.splitlines()[-1])["step"]

    assert steps("imbalance-10") == pytest.approx(steps("clean"), rel=0.5)


def test_what_is_there_is_not_run_again_and_more_is_added(tested):
    result, folder, options = tested
    ran = []

    def runner(jobs, workers, ended):
        ran.extend(job.damage.name for job in jobs if job.read() is None)
        return in_turn(jobs, workers, ended)

    config = parse_config(BLOCK)
    assert stress(config, folder, options=options, runner=runner) == result
    more = replace(options, rows=(0.5,))
    stress(config, folder, options=more, runner=runner)
    assert ran == ["rows-0.5", "rows-0.5"]
    other = parse_config(BLOCK | {"epochs": 3})
    with pytest.raises(InputError, match="configurations and options of the stress test"):
        stress(other, folder, options=options, runner=runner)
    run = folder_of(folder, "start", Damage("label-noise", "0.2"), 1)
    (run / "measured.json").write_text("{")
    with pytest.raises(InputError, match="stress-trial"):
        stress(config, folder, options=options, runner=runner)
    (run / "measured.json").unlink()
    again = stress(config, folder, options=options, runner=runner)
    seconds = StressFile.read(run / "measured.json").seconds
    assert again.dose("label-noise-0.2").runs[1].seconds == seconds


def test_the_command_prints_what_the_record_holds(tested, tmp_path):
    result, folder, _ = tested
    config = tmp_path / "same.yaml"
    config.write_text(json.dumps(BLOCK))
    words = "--imbalance 10 --label-noise .2 --corrupt noise --augmentation weak,1 --seeds 2"
    asked = ("stress", str(config), "-o", str(folder), *words.split())
    short, long, record = call(*asked), call(*asked, "--details"), call(*asked, "--json")
    again = StressResult.from_json(record.stdout)
    assert again.dose("imbalance-10") == result.dose("imbalance-10")
    assert again.reasons == result.reasons
    assert short.stdout.startswith(result.verdict)
    lines = short.stdout.splitlines()
    assert len(lines) < 25
    dose = result.dose("imbalance-10")
    row = next(line for line in lines if line.startswith(dose.name))
    assert row.removeprefix(dose.name).lstrip().startswith(dose.state.replace("-", " "))
    assert row.rstrip().endswith(f"{dose.instance_variance.estimate:.2f}")
    assert len(row) <= 80
    assert "corrupt-noise-2" in long.stdout
    assert f"{result.dose('corrupt-noise-2').finer.estimate:.3f}" in long.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--label-noise .6", "at most 1 - 1/m = 0.5 with 2 classes"),
        ("--imbalance 10000", "two training rows or more in every class under imbalance-10000"),
        ("--corrupt nois", "did you mean noise?"),
        ("--augmentation medum", "did you mean medium?"),
        ("--shift cell", "shift as one of digit"),
        ("--fewer-classes 2.5", "whole numbers for --fewer-classes"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_runs(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Path(__file__).parents[2] / "configs" / "digits.yaml"
    answer = call("stress", str(config), "-o", "out", *words.split())
    assert answer.returncode == 2
    assert said in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_shift_trains_on_one_value_and_is_held_against_the_clean_run_on_the_same_rows(tmp_path):
    # Two sites with the same classes and finer kinds; on site b the first number means nothing.
    rng, n = np.random.default_rng(0), 480
    label, kind, site = np.arange(n) % 2, np.arange(n) // 2 % 2, np.repeat(["a", "b"], n // 2)
    x = 0.3 * rng.standard_normal((n, 6)).astype(np.float32)
    x[:, 0] += np.where(site == "a", 2.0 * label, 0)
    x[:, 1] += np.where(site == "b", 2.0 * label, 0)
    x[:, 2] += kind
    named = {"y": label.astype(str), "kind": kind.astype(str), "site": site}
    np.savez(tmp_path / "x.npz", x=x, **named)
    data = {"source": "arrays", "path": "x.npz", "inputs": "x", "kind": "vector", "label": "y"}
    data |= {"fine": ["kind"], "slices": ["site"]}
    encoder = {"kind": "mlp", "widths": [16]}
    block = BLOCK | {"data": data, "encoder": encoder, "epochs": 5}
    block |= {"optimiser": {"learning_rate": 0.2}}
    asked = {"options": StressOptions(shift="site", seeds=2), "runner": in_turn}
    result = stress(parse_config(block), tmp_path / "test", base=tmp_path, **asked)
    assert [d.name for d in result.doses] == ["clean", "shift-site-a", "shift-site-b"]
    for dose in result.doses[1:]:
        # Trained on one site alone it is no better than chance on the other; with both it is.
        before = dose.training_label.estimate - dose.training_change.estimate
        assert before > 0.9, dose.name
        assert dose.training_label.estimate < 0.75, dose.name
        assert (dose.state, dose.test) == ("breaks", dose.name)
        assert len(dose.runs) == 2
        assert dose.rows < result.dose("clean").rows
    assert result.first.startswith("shift-site-")
