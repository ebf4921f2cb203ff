"""`uncollapse measure` and `uncollapse compare` as a user runs them."""

import json

import numpy as np
import pytest
from embeddings import cloud, ssem
from sklearn.datasets import load_digits
from test_record import prediction
from typer.testing import CliRunner

from uncollapse.cli import app, main
from uncollapse.records import BalancedBatch, FullBatch, RandomBatch, Setting

RUN = CliRunner()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    found = load_digits()
    site = np.array(["north", "south"])[np.arange(len(found.target)) % 2]
    np.savez(path, z=found.data, label=found.target % 2, digit=found.target, site=site)
    return path


def invoke(*words):
    return RUN.invoke(app, [str(word) for word in words])


def test_the_answer_is_one_screen_and_the_details_are_whole(digits, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(digits.parent)
    given = ("measure", digits.name, "--fine", "digit", "--slice", "site", "--permutations", 4)
    answer = invoke(*given)
    assert answer.exit_code == 0, answer.output
    text = answer.output
    # Verdict and code, rows, columns, share, the command that is next.
    for words in ("not-collapsed: ", "UC402", "1797 rows", "label label", "digit", "0.9324"):
        assert words in text
    assert f"uncollapse measure {digits.name} --fine digit" in text
    assert len(text.splitlines()) <= 15
    details = invoke(*given, "--details").output
    for words in ("UC402", "0.2905", "Slices by site", "Leakage: site", "64 dimensions"):
        assert words in details
    for shown in (text, details):
        assert "\x1b" not in shown
        # A command is not broken, so that it can be copied.
        lines = [line for line in shown.splitlines() if "uncollapse measure" not in line]
        assert max(len(line) for line in lines if "uncollapse report" not in line) <= 80


def test_json_is_the_record_and_nothing_else(digits):
    answer = invoke("measure", digits, "--json", "--permutations", 0, "--layer", "pixels")
    record = json.loads(answer.stdout)
    assert record["verdict"] == "not-collapsed"
    assert record["conditions"]["layer"] == "pixels"
    assert record["conditions"]["samples"] == 1797


@pytest.mark.parametrize(
    ("V", "fail_on", "code"),
    [
        (1e-4, "collapsed", 1),
        (1e-4, "at-risk", 1),
        (0.02, "collapsed", 0),
        (0.02, "at-risk", 1),
        (0.5, "at-risk", 0),
    ],
)
def test_fail_on(tmp_path, V, fail_on, code):
    rows, labels = ssem(V, 3, 30)
    np.savez(tmp_path / "d.npz", z=rows, label=labels)
    assert invoke("measure", tmp_path / "d.npz", "--fail-on", fail_on).exit_code == code


def test_prediction_file_and_margins(tmp_path):
    rows, labels = ssem(0.02, 3, 30)
    np.savez(tmp_path / "d.npz", z=rows, label=labels)
    (tmp_path / "p.json").write_text(json.dumps(prediction(0.021).to_dict()))
    found = invoke("measure", tmp_path / "d.npz", "--prediction", tmp_path / "p.json")
    assert found.output.startswith("healthy")
    assert "predicted" in found.output
    found = invoke("measure", tmp_path / "d.npz", "--healthy-margin", 0.015)
    assert found.output.startswith("not-collapsed")


@pytest.mark.parametrize(
    ("words", "batch"),
    [
        ([], FullBatch()),
        (["--batch-size", 8], RandomBatch(8)),
        (["--batch-per-class", 4, "--batch-classes", 2], BalancedBatch(4, 2)),
    ],
)
def test_the_runs_setting_is_predicted_for_the_counts_in_the_file(
    tmp_path, rng, monkeypatch, words, batch
):
    # What theory answers is its own room's test; here, that it is asked the right question.
    asked = []

    def predicted(setting, calibration=None):
        asked.append(setting)
        return prediction(0.2)

    monkeypatch.setattr("uncollapse.theory.predict", predicted)
    rows, labels, instances = cloud(rng, (12, 9, 5), views=2)
    np.savez(tmp_path / "d.npz", z=rows, label=labels, part=instances)
    given = ["--instance", "part", "--alpha", 0.3, "--temperature", 0.1, "--views", 3]
    for stream in ("--stream", "--in-memory"):
        found = invoke("measure", tmp_path / "d.npz", stream, "--json", *given, *words)
        assert found.exit_code == 0, found.output
        assert json.loads(found.stdout)["prediction"]["instance_variance"] == 0.2
        assert asked.pop() == Setting(
            class_counts=(12, 9, 5), views=3, alpha=0.3, temperature=0.1, batch=batch
        )


def test_state_of_a_stream_merges_like_one_file(tmp_path, rng):
    rows, labels, _ = cloud(rng, (40, 30))
    for k, at in enumerate((slice(0, 50), slice(50, None))):
        np.savez(tmp_path / f"{k}.npz", z=rows[at], label=labels[at])
        saved = invoke(
            "measure", tmp_path / f"{k}.npz", "--save-state", tmp_path / f"s{k}.npz", "--json"
        )
        # The second shard holds one class only: nothing to judge yet, but a state to merge.
        assert saved.exit_code == 0
        assert ("not judged" in saved.stderr) is (k == 1)
        assert (json.loads(saved.stdout)["verdict"] is None) is (k == 1)
    merged = invoke("measure", tmp_path / "s0.npz", tmp_path / "s1.npz", "--json")
    whole = invoke("measure", tmp_path / "0.npz", tmp_path / "1.npz", "--json")
    mine, theirs = json.loads(merged.stdout), json.loads(whole.stdout)
    ignored = invoke("measure", tmp_path / "s0.npz", tmp_path / "s1.npz", "--slice", "site")
    assert "neither finer labels nor slices" in str(ignored.exception)
    assert mine["share"] == pytest.approx(theirs["share"], rel=1e-9)


def test_compare_prints_and_guards(tmp_path, rng):
    for name, V in (("a", 0.4), ("b", 0.02)):
        rows, labels, _ = cloud(rng, (60, 60), V=V)
        np.savez(tmp_path / f"{name}.npz", z=rows, label=labels)
        answer = invoke("measure", tmp_path / f"{name}.npz", "--json")
        (tmp_path / f"{name}.json").write_text(answer.stdout)
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    worse = invoke("compare", a, b, "--fail-on", "regression")
    assert worse.exit_code == 1
    assert "regression: the verdict fell from not-collapsed" in worse.output
    better = invoke("compare", b, a, "--fail-on", "regression")
    assert better.exit_code == 0
    assert "no regression seen" in better.output
    other = json.loads(b.read_text())
    del other["share"]
    (tmp_path / "c.json").write_text(json.dumps(other))
    # A guard must never read a record that it cannot judge as "no regression".
    error = str(invoke("compare", a, tmp_path / "c.json", "--fail-on", "regression").exception)
    assert "c.json" in error
    assert "at share: " in error
    files = [tmp_path / f"{name}.npz" for name in "ab"]
    assert "because their labels agree row by row" in invoke("compare", *files).output
    record = json.loads(invoke("compare", *files, "--json").stdout)
    assert record["paired"] is True
    record = json.loads(invoke("compare", a, b, "--json").stdout)
    assert record["regression"] is True
    assert record["changes"][0]["direction"] == "fell"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["measure", "nowhere.npz"], "nowhere.npz"),
        (["measure", "{digits}", "--label", "class"], "'class'"),
        (["measure", "{digits}", "--alpha", "0.1"], "--temperature"),
        (["measure", "{digits}", "--batch-size", "8"], "--alpha"),
        (["measure", "{digits}", "--batch-classes", "2"], "--alpha"),
        (
            ["measure", "{digits}", "--alpha", "0.5", "--temperature", "1", "--batch-classes", "2"],
            "--batch-per-class",
        ),
        (["measure", "{digits}", "--save-state", "{digits}/no/state.npz"], "state.npz"),
        (["measure", "{digits}", "--save-state", "{digits}"], "something else there"),
        (["measure", "{digits}", "--save-state", "{digits}.s.npz", "--slice", "site"], "stream"),
        (["measure", "{digits}", "--stream", "--fine", "digit"], "stream"),
        (["measure", "{digits}", "--prediction", "{digits}"], "prediction"),
        (["measure", "{digits}", "--healthy-margin", "0.001"], "margins"),
        (["compare", "{digits}", "{digits}", "--label", "class"], "'class'"),
        (["compare", "{digits}.json", "{digits}"], "measurement"),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(digits, words, message, monkeypatch, capsys):
    given = [word.format(digits=digits) for word in words]
    before = digits.read_bytes()
    monkeypatch.setattr("sys.argv", ["uncollapse", *given])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("uncollapse: error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert digits.read_bytes() == before
