"""`uncollapse report` as a user runs it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from uncollapse import Columns, ReportOptions, build_report, measure_files
from uncollapse.cli import app, main
from uncollapse.errors import InputError
from uncollapse.statistics import difference
from uncollapse.tables import ReferenceFiles

RUN = CliRunner()


def invoke(*words):
    return RUN.invoke(app, ["report", *map(str, words)])


@pytest.mark.parametrize(
    ("form", "ending"), [("html", "html"), ("json", "json"), ("markdown", "md")]
)
def test_every_format_and_a_second_time(runs, tmp_path, form, ending):
    target = tmp_path / f"new/report.{ending}"
    for _ in range(2):
        answer = invoke(runs[0] / "probe.json", "--format", form, "-o", target)
        assert answer.exit_code == 0, answer.output
        assert str(target) in answer.output.replace("\n", "")
    assert target.stat().st_size > 500
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_the_ending_of_the_file_says_the_format(runs, tmp_path):
    for name, begins in (("a.md", "---"), ("a.json", "{"), ("a.html", "<!DOCTYPE"), ("a", "<!")):
        assert invoke(runs[0] / "probe.json", "-o", tmp_path / name).exit_code == 0
        assert (tmp_path / name).read_text("utf-8").startswith(begins)
    answer = invoke(runs[0] / "probe.json", "-o", tmp_path / "a.pdf")
    assert isinstance(answer.exception, InputError)
    assert not (tmp_path / "a.pdf").exists()


def test_json_says_what_is_decided_and_where_it_is(runs, tmp_path):
    target = tmp_path / "report.json"
    answer = invoke(runs[0] / "probe.json", "--format", "json", "-o", target, "--json")
    told = json.loads(answer.stdout)
    written = json.loads(target.read_text("utf-8"))
    assert told["output"] == str(target)
    assert told["verdict"] == written["decision"]["verdict"]
    assert told["megabytes"] == pytest.approx(target.stat().st_size / 1e6, abs=1e-3)


def refused(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["uncollapse", "report", *map(str, words)])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def write_rows(path):
    """An embedding without the finer kinds, one that has half of them, and the base with all."""
    rng = np.random.default_rng(0)
    fine = np.arange(400) % 4
    finer = np.eye(4, 16)[fine] + 0.3 * rng.standard_normal((400, 16))
    flat = np.eye(2, 8)[fine % 2] + 0.1 * rng.standard_normal((400, 8))
    half = np.hstack([flat, 0.3 * finer])
    np.savez(path, embedding=flat, half=half, base=finer, label=fine % 2, kind=fine)


def test_embeddings_are_held_against_a_reference_as_measure_holds_them(tmp_path):
    write_rows(tmp_path / "rows.npz")
    given = (tmp_path / "rows.npz", "--reference-embedding", "base", "--fine", "kind")
    answer = invoke(*given, "--format", "json", "-o", tmp_path / "report.json")
    assert answer.exit_code == 0, answer.output
    assert json.loads((tmp_path / "report.json").read_text())["decision"]["verdict"] == "at-risk"
    columns, beside = Columns(fine="kind"), ReferenceFiles(reference_embedding="base")
    options = ReportOptions(columns=columns, reference=beside)
    (case,) = build_report(tmp_path / "rows.npz", options=options).inputs.cases
    wanted = measure_files(tmp_path / "rows.npz", columns=columns, reference=beside)
    assert case.measured[0].measurement.reference == wanted.reference


def test_two_measurements_against_one_reference_differ_by_its_few_shots(tmp_path):
    write_rows(tmp_path / "rows.npz")
    beside = ReferenceFiles(reference_embedding="base")
    found = [
        measure_files(tmp_path / "rows.npz", columns=Columns(embedding=e, fine="kind"),
                      reference=beside)
        for e in ("embedding", "half")
    ]  # fmt: skip
    report = build_report(found)
    assert report.decision.headline.key == "headline.better-shots"
    first, last = (each.reference.probe for each in found)
    gain = report.decision.headline.values["gain"]
    assert gain.estimate == pytest.approx(last.embedding - first.embedding)
    wanted = difference(first.difference, last.difference)
    assert (gain.low, gain.high) == pytest.approx((wanted.low, wanted.high))


@pytest.mark.parametrize(("language", "place"), [("en", " in base"), ("ja", "baseでは")])
def test_the_headline_names_the_column_that_was_chosen(tmp_path, language, place):
    write_rows(tmp_path / "rows.npz")
    for column in ("base", "embedding"):
        options = ReportOptions(columns=Columns(embedding=column))
        headline = build_report(tmp_path / "rows.npz", language, options=options).headline
        assert (place in headline) == (column == "base")


def test_another_file_is_not_written_over(runs, tmp_path, monkeypatch, capsys):
    source = runs[0] / "probe.json"
    other = tmp_path / "thesis.html"
    other.write_text("<p>mine")
    for target in (other, source, tmp_path):
        refused(monkeypatch, capsys, source, "-o", target)
    assert other.read_text() == "<p>mine"
    json.loads(source.read_text())
    answer = invoke(source, "--format", "json", "-o", other, "--force")
    assert answer.exit_code == 0


def test_misuse_exits_with_2(tmp_path, monkeypatch, capsys):
    assert "check the path" in refused(monkeypatch, capsys, tmp_path / "no.json")
    refused(monkeypatch, capsys, "--lang", "fr", tmp_path)
    refused(monkeypatch, capsys)


def test_the_library_stays_light():
    code = (
        "import uncollapse.report, uncollapse.cli, sys; "
        "print({'altair', 'jinja2', 'vl_convert', 'yaml', 'torch'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert answer.stdout.strip() == "set()"
