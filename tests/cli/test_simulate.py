"""`uncollapse simulate` as a user runs it."""

import json
from subprocess import CompletedProcess

import pytest

from command_line import call
from uncollapse import simulation
from uncollapse.records import RandomBatch
from uncollapse.simulation import SimulationOptions, simulate
from uncollapse.theory import Setting, predict

SMALL = ["--classes", "2", "--per-class", "2", "--alpha", ".5", "--temperature", ".5"]


def run(*arguments: str) -> CompletedProcess[str]:
    return call("simulate", *arguments)


def test_every_option_reaches_the_run(tmp_path):
    (tmp_path / "counts.txt").write_text("4\n3\n2\n")
    answer = run(
        "--class-counts", f"@{tmp_path}/counts.txt", "--views", "3", "--alpha", ".4",
        "--temperature", ".2", "--self-pairs", "include", "--reduction", "pairs",
        "--anchors-without-positives", "zero", "--batch-size", "8", "--dim", "6", "--model", "mlp",
        "--optimiser", "sgd", "--learning-rate", ".2", "--momentum", ".5", "--schedule", "constant",
        "--steps", "4", "--width", "5", "--depth", "1", "--input-dim", "7", "--separation", "2",
        "--augmentation", ".3", "--fresh-views", "--collapsed-below", ".01", "--seed", "3",
        "--repeats", "2", "--json",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    record = json.loads(answer.stdout)
    assert set(record) == {"kind", "schema_version", "interrupted", "runs", "summary"}
    setting = Setting(
        class_counts=[4, 3, 2], views=3, alpha=0.4, temperature=0.2, self_pairs="include",
        reduction="pairs", anchors_without_positives="zero", dimension=6, batch=RandomBatch(8),
    )  # fmt: skip
    options = SimulationOptions(
        model="mlp", optimiser="sgd", learning_rate=0.2, momentum=0.5, schedule="constant", steps=4,
        width=5, depth=1, input_dimension=7, separation=2, augmentation=0.3, fresh_views=True,
        collapsed_below=0.01,
    )  # fmt: skip
    assert [found["seed"] for found in record["runs"]] == [3, 4]
    prediction = predict(setting, thresholds=False).to_dict()
    for found in record["runs"]:
        expected = simulate(setting, options, seed=found["seed"]).to_dict()
        for volatile in (found["reached"], expected):
            del volatile["seconds"]
        del expected["seed"]
        assert set(found["reached"]) == set(expected)
        for name, value in expected.items():
            numbers = isinstance(value, float | int | list | tuple) and "phase" not in name
            expectation = pytest.approx(value) if numbers else value
            assert found["reached"][name] == expectation, name
        assert set(prediction) - set(found["prediction"]) == {
            "alpha_threshold",
            "temperature_threshold",
            "view_splitting_threshold",
            *(name for name in prediction if name.endswith("_range")),
        }
        assert found["prediction"]["loss"] == prediction["loss"]
    (summary,) = record["summary"]
    losses = [found["reached"]["loss"] for found in record["runs"]]
    assert summary["loss"]["mean"] == pytest.approx(sum(losses) / 2)
    assert summary["loss"]["sd"] == pytest.approx(abs(losses[0] - losses[1]) / 2**0.5)


def test_the_start_of_vectors_reaches_the_run():
    answer = run(
        *SMALL, "--initial", "ssem", "--initial-variance", ".3", "--initial-noise", ".2",
        "--optimiser", "adam", "--steps", "1", "--json",
    )  # fmt: skip
    (found,) = json.loads(answer.stdout)["runs"]
    options = SimulationOptions(
        initial="ssem", initial_variance=0.3, initial_noise=0.2, optimiser="adam", steps=1
    )
    setting = Setting(classes=2, per_class=2, alpha=0.5, temperature=0.5)
    assert found["reached"]["loss"] == pytest.approx(simulate(setting, options).loss)


def test_a_grid_is_a_table_with_a_row_for_each_point():
    answer = run(*SMALL[:4], "--alpha", "0.1,0.5", "--temperature", ".5", "--dim", "1,8")
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    (start,) = (k for k, line in enumerate(lines) if "phase" in line)
    assert lines[start].split()[:3] == ["alpha", "dimension", "loss"]
    rows = [line.split() for line in lines[start + 1 : start + 5]]
    assert [row[:2] for row in rows] == [["0.1", "1"], ["0.1", "8"], ["0.5", "1"], ["0.5", "8"]]
    for alpha, dim, predicted, reached, *_ in rows:
        setting = Setting(classes=2, per_class=2, alpha=float(alpha), temperature=0.5)
        assert predicted == f"{predict(setting).loss:.6f}"
        assert (predicted == reached) == (dim == "8")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--alpha", "2"], "expected alpha in [0, 1]"),
        (["--alpha", "0,x"], "--alpha as numbers; found 'x'"),
        (["--alpha", "0.5,.5"], "different values of --alpha"),
        (["--width", "3.5"], "--width as whole numbers; found '3.5'"),
        (["--batch-size", "3", "--batch-per-class", "2"], "one kind of batch"),
        (["--batch-size", "3,99"], "a batch of 99"),
        (["--dim", "8,1", "--initial", "ssem"], "at least 3 for this start"),
        (["--steps", "0"], "steps as a whole number from 1"),
        (["--repeats", "20000"], "at most 10,000 runs"),
        (["--repeats", "0"], "repeats"),
        (["--optimiser", "lion"], "lion"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, part):
    answer = run(*SMALL, *arguments)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.count("\n") == 1
    assert part in answer.stderr


def test_interrupted_it_prints_what_is_finished(monkeypatch):
    runs = []

    def interrupted(*arguments, **options):
        if runs:
            raise KeyboardInterrupt
        runs.append(simulate(*arguments, **options))
        return runs[0]

    monkeypatch.setattr(simulation, "simulate", interrupted)
    grid = ("--alpha", "0.1,0.5", "--temperature", "0.5")
    answer = call("simulate", "--classes", "2", "--per-class", "2", *grid, "--json")
    assert answer.returncode == 130
    record = json.loads(answer.stdout)
    assert record["interrupted"] is True
    assert [found["reached"]["loss"] for found in record["runs"]] == [runs[0].loss]
    assert [point["varied"] for point in record["summary"]] == [{"alpha": 0.1}]
    assert answer.stderr == "uncollapse: interrupted, 1 of 2 runs finished\n"
