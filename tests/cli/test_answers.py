"""What commands print: one screen, the same without colour, lines without a terminal."""

import json
import re
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from command_line import call
from uncollapse.cli._console import Lines
from uncollapse.cli._piloted import show_pilot
from uncollapse.records import PilotResult

OLD = Path(__file__).parents[1] / "records" / "old"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def rows(classes, per_class=40, spread=0.4, seed=0):
    """Rows about a direction of each class, in which two kinds of each class stand apart."""
    rng = np.random.default_rng(seed)
    labels, kinds = np.repeat(np.arange(classes), per_class), np.arange(classes * per_class) % 2
    apart = spread * np.where(kinds, 1, -1)[:, None] * np.eye(1, 32, 31)
    means = rng.standard_normal((classes, 32))[labels]
    return means + apart + 0.1 * rng.standard_normal((len(labels), 32)), labels, kinds


def test_an_answer_is_one_screen_whatever_the_data(folder):
    vectors, labels, kinds = rows(20, per_class=20)
    names = np.array([f"a class whose name is long, and whose number is {k}" for k in range(20)])
    lost = vectors.copy()
    for k in (3, 12):
        lost[labels == k] = lost[labels == k].mean(axis=0)
    lost[labels == 7] = lost[labels == 7][0]
    given = {"label": names[labels], "kind of a row": kinds, "an embedding": lost}
    np.savez("rows.npz", **given, reference=vectors)
    words = ["--embedding", "an embedding", "--label", "label", "--permutations", "0"]
    beside = ["--reference-embedding", "reference", "--fine", "kind of a row"]
    for more in ([], beside):
        text = call("measure", "rows.npz", *words, *more).stdout
        record = json.loads(call("measure", "rows.npz", *words, *more, "--json").stdout)
        lines = text.splitlines()
        assert lines[0].startswith(record["verdict"] + ": ")
        assert record["reasons"][0]["code"] in text
        assert len(lines) <= 15, text
        # A command is not broken, so that it can be copied.
        assert all(len(line) <= 80 for line in lines if "uncollapse " not in line), text
        assert f"{record['conditions']['samples']} rows" in text
        worst = min(record["classes"], key=lambda one: one["verdict"] != "collapsed")
        assert worst["verdict"] in text
    whole = call("measure", "rows.npz", *words, *beside, "--details").stdout
    assert all(reason["code"] in whole for reason in record["reasons"])


def test_a_reference_is_named_with_how_its_rows_were_joined_and_what_it_cannot_know(folder):
    vectors, labels, _ = rows(3)
    ids = np.arange(len(labels))
    np.savez("rows.npz", embedding=vectors, label=labels, id=ids)
    rng = np.random.default_rng(1)
    order, base = rng.permutation(len(ids)), vectors + 0.01 * rng.standard_normal(vectors.shape)
    for name, given in (("ids", {"id": ids[order]}), ("places", {})):
        np.savez(f"{name}.npz", embedding=base[order], **given)
    words = ("measure", "rows.npz", "--reference")
    joined = call(*words, "ids.npz").stdout
    assert "reference ids joined by the id column id" in " ".join(joined.split())
    # Retention alone calls for nothing, and does not say that nothing can be lost.
    assert joined.startswith("healthy")
    assert "nothing to change" not in joined
    assert "--fine" in joined
    assert "uncollapse measure rows.npz --reference ids.npz --fail-on at-risk" in joined
    # A page judges by the same: with the reference, or from the record with a prediction in it.
    assert "uncollapse report rows.npz --reference ids.npz" in joined
    run = ("--alpha", "0.5", "--temperature", "0.1")
    assert "uncollapse report measured.json" in call("measure", "rows.npz", *run).stdout
    np.savez("some.npz", embedding=base[:100], id=ids[:100])
    some = " ".join(call(*words, "some.npz").stdout.split())
    assert "reference some (100 of the rows) joined by the id column id" in some
    # Beside itself it shows nothing.
    itself = call(*words, "rows.npz").stdout
    assert "UC305" in call(*words, "rows.npz", "--details").stdout
    assert not itself.startswith("healthy")
    turned = " ".join(call(*words, "places.npz").stdout.split())
    assert "reference places joined by position" in turned
    assert "check that the rows of both are in the same order" in turned


def test_colour_is_an_addition(folder, monkeypatch):
    vectors, labels, _ = rows(3)
    np.savez("rows.npz", embedding=vectors, label=labels)
    plain = call("measure", "rows.npz", "--permutations", "0").stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = call("measure", "rows.npz", "--permutations", "0").stdout
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain
    # Words in front are dim, and the text beside them is not.
    assert re.search(r"\x1b\[2m *rests on +\x1b\[0m", coloured)
    monkeypatch.setenv("NO_COLOR", "1")
    without = call("measure", "rows.npz", "--permutations", "0").stdout
    assert not re.search(r"\x1b\[[\d;]*3\dm", without)


def test_a_pilots_answer_has_verdict_gain_and_trade(folder):
    result = PilotResult.read(next((OLD / "pilot").glob("pilot.json")))
    console = Console(width=80, record=True, file=StringIO())
    show_pilot(result, console)
    text = console.export_text()
    assert text.startswith(result.verdict)
    assert all(reason.code in text for reason in result.reasons)
    assert all(point.trial in text for point in result.trade if point.front)
    assert max(map(len, text.splitlines())) <= 80


def test_without_a_terminal_a_line_tells_each_epoch_and_the_time_left(capsys, monkeypatch):
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr("uncollapse.cli._console.monotonic", lambda: next(clock))
    update = Lines("epoch", 2)
    for done in range(1, 7):
        update(done, 6, f"loss {done}")
    lines = capsys.readouterr().err.splitlines()
    assert [re.search(r"epoch (\d)/3", line)[1] for line in lines] == ["1", "2", "3"]
    # Ten seconds between two looks at the clock, of which there is one a line.
    assert "loss 2" in lines[0]
    assert "about 20 s left" in lines[0]
    assert "about 0 s left" in lines[2]
    resumed = Lines("epoch", 2)
    resumed(5, 6)
    resumed(6, 6)
    assert "left" in capsys.readouterr().err


def test_errors_name_the_option_and_what_was_meant(folder):
    vectors, labels, kinds = rows(3)
    np.savez("rows.npz", embedding=vectors, label=labels, kind=kinds, other=vectors)
    (folder / "run.yaml").write_text(
        "{data: {source: digits}, encoder: {kind: convnet}, loss: {alpha: 0.2, temperature: 0.1}, "
        "epochs: 2}"
    )
    meant = {
        ("measure", "rows.npz", "--label", "lable"): "--label label",
        ("measure", "rows.npz", "--fine", "knid"): "--fine kind",
        ("measure", "rows.npz", "--reference-embedding", "othr"): "--reference-embedding other",
        ("measure", "rows.npz", "--fail-on", "at-rsik"): "at-risk",
        ("measure", "row.npz"): "rows.npz",
        ("probe", "rows.npz", "--target", "kin"): "--target kind",
        ("probe", "rows.npz", "--layer", "embeding"): "--layer embedding",
        ("train", "run.yml"): "run.yaml",
        ("train", "run.yaml", "--set", "loss.alhpa=1"): "alpha",
        ("train", "run.yaml", "--set", "data.source=digit"): "digits",
        ("train", "run.yaml", "--set", "data.lable=x"): "label",
    }
    for words, near in meant.items():
        answer = call(*words)
        assert answer.returncode == 2, words
        said = re.search(r"[dD]id you mean (.*)\?", answer.stderr)
        assert said, answer.stderr
        assert near in said[1]
    for words in (
        ("predict", "--classes", "2", "--alpha", "0.1", "--temperature", "0.1"),
        ("predict", "--classes", "2", "--per-class", "3", "--alpha", "x", "--temperature", "1"),
        ("train", "run.yaml", "--set", "loss.keep=1", "--set", "loss.reference=base"),
        ("measure", "rows.npz", "--fail-on", "never"),
        ("report", "rows.npz/x"),
    ):
        answer = call(*words)
        assert answer.returncode == 2, answer.stderr
        assert not re.search(r"Errno|Value error|per_class|Input should", answer.stderr)
