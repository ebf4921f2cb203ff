"""How a command ends: exit codes, closed pipes, encodings, full and closed streams."""

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from command_line import call
from uncollapse.cli import main

MODULE = f"{sys.executable} -m uncollapse"


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.npz"
    labels = np.repeat(["不良", "\x1b[2Jred", "c [/s]"], 20)
    vectors = np.random.default_rng(0).normal(size=(60, 4))
    np.savez(path, embedding=vectors, label=labels, **{"length [cm]": np.arange(60) % 2})
    return path


def shell(command, **environment):
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_a_fault_of_ours_is_3_and_shows_its_traceback_when_asked(monkeypatch):
    def broken(*words, **more):
        raise ZeroDivisionError("a\nb")

    monkeypatch.setitem(main.__globals__, "app", broken)
    done = call("predict")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert r"a fault of ours, not of your input: ZeroDivisionError" in done.stderr
    for words, variable in ((("--debug", "predict"), ""), (("predict",), "1")):
        monkeypatch.setenv("UNCOLLAPSE_DEBUG", variable)
        assert "Traceback" in call(*words).stderr


def test_a_closed_pipe_ends_quietly_and_is_no_finding(rows):
    measure = f"{MODULE} measure {rows} --permutations 0 --details"
    done = shell(f"{measure} | true; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == (b"141\n", b"")
    setting = "predict --classes 3 --per-class 4 --alpha 0.2 --temperature 0.2"
    done = shell(f"{MODULE} {setting} | true; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == (b"141\n", b"")
    done = shell(f"{MODULE} explore -o - | true; echo ${{PIPESTATUS[0]}}")
    assert done.stdout == b"141\n"
    assert b"error" not in done.stderr


def test_what_is_read_is_never_written_over(rows, tmp_path):
    table = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"z": np.eye(20, 4).tolist(), "label": [0, 1] * 10}), table)
    before = rows.read_bytes(), table.read_bytes()
    for words in (
        ("probe", str(rows), "-o", str(rows)),
        ("measure", str(table), "--rows", str(table)),
    ):
        done = call(*words)
        assert (done.returncode, "an output beside what is read" in done.stderr) == (2, True)
    assert (rows.read_bytes(), table.read_bytes()) == before


def test_an_option_is_named_once(tmp_path):
    wrong = np.eye(8)
    wrong[3] = np.nan
    np.savez(tmp_path / "rows.npz", embedding=wrong, label=np.arange(8) % 2)
    refused = call("measure", str(tmp_path / "rows.npz"))
    assert refused.stderr.endswith("correct them, or drop them with --drop-invalid\n")


def test_a_pipe_in_a_files_place_is_called_so(tmp_path):
    os.mkfifo(tmp_path / "rows.csv")
    done = call("measure", str(tmp_path / "rows.csv"))
    assert done.returncode == 2
    assert "found a pipe or a device; pipe it to the standard input and name -" in done.stderr


def test_no_stream_costs_the_answer(rows):
    measure = f"{MODULE} measure {rows} --permutations 0"
    plain = shell(f"{measure} --json", PYTHONIOENCODING="utf-8").stdout
    for coding in ("ascii", "cp1252"):
        done = shell(f"{measure} --json", PYTHONIOENCODING=coding)
        assert (done.returncode, json.loads(done.stdout)) == (0, json.loads(plain))
    done = shell(measure, PYTHONIOENCODING="ascii")
    assert (done.returncode, rb"\u4e0d\u826f" in done.stdout) == (0, True)
    done = shell(f"{measure} >&-")
    assert (done.returncode, b"not-collapsed" in done.stderr) == (0, True)
    done = shell(f"{measure} > /dev/full")
    assert done.returncode == 2
    assert done.stderr.startswith(b"uncollapse: error: expected a stdout that takes the answer")


def test_names_are_shown_and_nothing_in_them_is_obeyed(rows, monkeypatch):
    monkeypatch.setenv("COLUMNS", "0")
    words = ("--slice", "length [cm]", "--permutations", "0", "--details")
    done = call("measure", str(rows), *words)
    assert "Slices by length [cm]" in done.stdout
    assert "c [/s]" in done.stdout
    assert r"\x1b[2Jred" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_record_is_read_from_stdin_and_from_powershell(rows, tmp_path):
    answer = call("measure", str(rows), "--permutations", "0", "--json").stdout
    (tmp_path / "wide.json").write_bytes(answer.encode("utf-16"))
    wide = str(tmp_path / "wide.json")
    assert call("compare", wide, wide).returncode == 0
    done = shell(f"{MODULE} compare - {wide} < {wide}")
    assert (done.returncode, b"no regression seen" in done.stdout) == (0, True)


def test_a_report_goes_to_stdout_alone(rows):
    done = shell(f"{MODULE} report {rows} --format json -o -")
    assert json.loads(done.stdout)["kind"] == "report"
    assert b"report in -" in done.stderr
