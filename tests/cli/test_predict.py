"""`uncollapse predict` as a user runs it."""

import json
import os
from subprocess import CompletedProcess

import pytest

from command_line import call
from uncollapse import RandomBatch
from uncollapse.cli._advised import searched_levers
from uncollapse.theory import LEVERS, Setting, predict

KEYS = {
    "phase",
    "within_class_variance",
    "within_class_variance_per_class",
    "instance_variance",
    "view_variance",
    "between_class_variance",
    "loss",
    "alpha_threshold",
    "temperature_threshold",
    "view_splitting_threshold",
    "certificate_gap",
    "notes",
}


def run(*arguments: str) -> CompletedProcess[str]:
    return call("predict", *arguments)


def test_json_is_one_object_with_the_documented_keys():
    answer = run(
        "--classes", "10", "--per-class", "50", "--views", "2", "--alpha", ".5",
        "--temperature", ".1", "--json",
    )  # fmt: skip
    assert answer.returncode == 0
    assert answer.stderr == ""
    record = json.loads(answer.stdout)
    assert set(record) >= KEYS
    setting = Setting(classes=10, per_class=50, alpha=0.5, temperature=0.1)
    assert record == predict(setting).to_dict()


def test_every_option_reaches_the_setting(tmp_path):
    (tmp_path / "counts.txt").write_text("10\n4\n2\n")
    answer = run(
        "--class-counts", f"@{tmp_path}/counts.txt",
        "--views", "3", "--alpha", ".4", "--temperature", ".2",
        "--self-pairs", "include", "--reduction", "pairs", "--anchors-without-positives", "zero",
        "--batch-per-class", "2", "--batch-classes", "2", "--dim", "8", "--json",
    )  # fmt: skip
    from uncollapse.records import BalancedBatch

    setting = Setting(
        class_counts=[10, 4, 2], views=3, alpha=0.4, temperature=0.2, self_pairs="include",
        reduction="pairs", anchors_without_positives="zero", dimension=8,
        batch=BalancedBatch(2, 2),
    )  # fmt: skip
    assert json.loads(answer.stdout) == predict(setting).to_dict()


def test_the_readable_answer_says_phase_margin_and_changes():
    answer = run("--class-counts", "40,12,5", "--alpha", ".1", "--temperature", ".2")
    assert answer.returncode == 0
    for part in ("collapse: instances of a class become one point", "threshold", "alpha 0.1 -> "):
        assert part in answer.stdout


def test_counts_in_a_pipe_that_nobody_writes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "counts")
    words = ("--class-counts", f"@{tmp_path}/counts", "--alpha", ".5", "--temperature", ".1")
    answer = run(*words)
    assert answer.returncode == 2
    assert "a pipe, a device or a folder" in answer.stderr


def test_a_variance_that_the_loss_hardly_feels_is_shown_with_its_range():
    arguments = ["--classes", "10", "--per-class", "50", "--alpha", ".02", "--temperature"]
    assert "between classes 0.5221 to 0.9737" in run(*arguments, ".04").stdout
    assert "within 1e-6" not in run(*arguments, "4").stdout


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--classes", "3", "--per-class", "4", "--alpha", "2"], "expected alpha in [0, 1]"),
        (
            ["--class-counts", "3,x", "--alpha", ".5"],
            "class counts as whole numbers, at most 1e9; found 'x'",
        ),
        (["--class-counts", "@missing", "--alpha", ".5"], "a text file with one class count"),
        (["--classes", "3", "--per-class", "4", "--alpha", ".5", "--batch-size", "99"], "99"),
        (
            ["--classes", "3", "--per-class", "4", "--alpha", ".5", "--batch-classes", "2"],
            "--batch-per-class beside",
        ),
        (["--classes", "3", "--per-class", "2.5", "--alpha", ".5"], "valid integer"),
        (["--classes", "3", "--per-class", "4", "--alpha", "half"], "--alpha"),
        (["--classes", "3", "--per-class", "4"], "--alpha"),
        (["--classes", "2", "--per-class", "4", "--alpha", ".5", "--label-noise", "1"], "to below"),
        (["--classes", "2", "--per-class", "4", "--alpha", "0", "--alpha-per-class", "a,1"], "'a'"),
        (["--classes", "2", "--per-class", "4", "--alpha", "0", "--confusion", "none"], "none"),
        (["--classes", "3", "--per-class", "4", "--alpha", ".5", "--self-pairs", "both"], "both"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, part):
    answer = run(*arguments, "--temperature", ".1")
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.count("\n") == 1
    assert part in answer.stderr


def test_a_file_from_a_spreadsheet(tmp_path):
    """With a byte order mark, Windows line ends and empty lines."""
    (tmp_path / "counts.txt").write_bytes(b"\xef\xbb\xbf10\r\n\r\n4\r\n2\r\n")
    answer = run(
        "--class-counts", f"@{tmp_path}/counts.txt", "--alpha", ".4", "--temperature", ".2",
        "--json",
    )  # fmt: skip
    assert json.loads(answer.stdout)["cosines"]["counts"] == [2, 4, 10]


def test_a_negative_seed_is_misuse():
    answer = run(
        "--class-counts", "90,80,70,60,50,40,30", "--alpha", ".5", "--temperature", ".1",
        "--batch-size", "40", "--seed", "-1",
    )  # fmt: skip
    assert answer.returncode == 2
    assert "seed" in answer.stderr


def test_advice_for_a_target_is_in_the_json():
    answer = run(
        "--classes", "10", "--per-class", "50", "--alpha", "0", "--temperature", ".1", "--json",
        "--target-variance", ".2",
    )  # fmt: skip
    (advice,) = json.loads(answer.stdout)["advice"]
    assert advice["lever"] == "alpha"
    assert advice["instance_variance"] == pytest.approx(0.2, abs=1e-5)


def test_a_larger_random_batch_is_advised_by_its_size():
    """What can be set is a whole number; the instances per class that it holds are an average."""
    arguments = [
        "--class-counts", "1000,400,200,100", "--batch-size", "64", "--alpha", ".01",
        "--temperature", ".1",
    ]  # fmt: skip
    printed = run(*arguments).stdout
    line = "batch size 64 -> 959 (239.75 instances per class on average): instance variance 0.1"
    assert line in printed
    assert "instances per class in a batch" not in printed
    record = json.loads(run(*arguments, "--json", "--target-variance", ".1").stdout)
    sizes = {each["lever"]: each.get("batch_size") for each in record["advice"]}
    assert isinstance(sizes.pop("batch_per_class"), int)
    assert set(sizes.values()) <= {None}


def test_wrong_labels_are_predicted_for_both_encoders(tmp_path):
    arguments = ["--class-counts", "50,20", "--alpha", ".2", "--temperature", ".1"]
    (tmp_path / "confusion.csv").write_text("45,5\n3,17\n")
    labels = ["--confusion", f"{tmp_path}/confusion.csv", "--alpha-per-class", ".9,.1"]
    record = json.loads(run(*arguments, *labels, "--json").stdout)
    setting = Setting(class_counts=[50, 20], alpha=0.2, temperature=0.1)
    given = {"confusion": [[45, 5], [3, 17]], "alpha_per_class": [0.9, 0.1]}
    learnt = record.pop("noise_learned")
    assert record == json.loads(predict(setting, **given).to_json())
    assert learnt == json.loads(predict(setting, **given, noise_learned=True).to_json())
    shown = run(*arguments, "--label-noise", ".1").stdout
    assert "if the encoder cannot know which are wrong" in shown
    assert "by heart     if it learns the wrong labels too" in shown


def test_an_unknown_option_suggests_the_right_one():
    answer = run("--clases", "3")
    assert answer.returncode == 2
    assert "--classes" in answer.stderr


def test_batches_drawn_of_many_unequal_classes_are_advised_by_alpha_alone():
    """All dials of a thousand such classes would take minutes."""

    def levers(classes):
        counts = [20, 40] * (classes // 2)
        setting = Setting(class_counts=counts, alpha=0, temperature=0.1, batch=RandomBatch(64))
        return searched_levers(setting)

    assert levers(4) == levers(64) == LEVERS
    assert levers(66) == ("alpha",)
