"""What a report says of real runs, measurements, pilots and embeddings."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from markup import IMAGE, SCRIPT, Text

from uncollapse import InputError, ReportOptions, build_report, compare, measure
from uncollapse.report.charts.measured import interval_chart, share_rows
from uncollapse.report.decide.lookup import class_rows
from uncollapse.report.language import language
from uncollapse.report.page import MOST_BYTES
from uncollapse.report.read.rows import measured_rows
from uncollapse.tables import Columns, open_shards

WHEN = datetime(2026, 11, 25, 9, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def two(runs):
    return build_report(runs, created=WHEN)


def test_two_runs_are_before_and_after(two):
    decision = two.decision
    assert decision.basis == "change"
    assert [(c.key, c.before, c.after) for c in decision.changes] == [("loss.alpha", 0.0, 0.3)]
    assert {"gain.within", "gain.share"} <= {message.key for message in decision.gain}
    assert "cost.task" in {message.key for message in decision.cost}
    assert "certainty.one-run-each" in {message.key for message in decision.certainty}
    roles = [(mark.role, mark.alpha, mark.tau) for mark in two.marks]
    assert roles == [("before", 0.0, 0.1), ("after", 0.3, 0.1)]


def test_numbers_are_those_of_the_rooms_they_come_from(two, runs):
    """The judged measurement is `measure` of the test rows; the comparison is `compare`."""
    import pyarrow.parquet as pq

    found = []
    for run, case in zip(runs, two.inputs.cases, strict=True):
        table = pq.read_table(run / "embeddings.parquet").to_pydict()
        test = np.array(table["split"]) == "test"
        once = measure(
            np.array(table["projector"], dtype=np.float32)[test],
            np.array(table["label"])[test],
            fine_labels=np.array(table["digit"])[test],
            prediction=case.prediction,
            layer="projector",
            split="test",
        )
        assert case.measured[0].measurement.share == once.share
        assert case.measured[0].measurement.reasons == once.reasons
        found.append(once)
    assert two.comparison == compare(*found)


def sections(html):
    """Names of the page's sections, in order."""
    return re.findall(r'<section (?:id|class="block(?: full)?" id)="([a-z-]+)"', html)


def test_the_page_holds_every_part_in_order(two):
    html = two.to_html()
    page = Text(html)
    engineer = ["why", "variance", "levels", "picture", "near", "comparison", "phase", "layers"]
    engineer += ["probes", "spectrum", "training", "secondary"]
    auditor = ["responsibility", "absent", "made", "commands", "data", "margins", "cost"]
    auditor += ["settings", "inputs", "configuration", "conventions", "limits", "headings"]
    auditor = [f"audit-{name}" for name in (*auditor, "codes")]
    assert sections(html) == ["decision", *engineer, *auditor]
    assert "no slices" in page.text
    assert "25 November 2026, 09:05 UTC" in page.text
    fingerprint = two.inputs.cases[0].run.data.fingerprint
    assert fingerprint in page.text
    assert all(source.sha256 in page.text for source in two.inputs.sources)
    assert len(html.encode()) < MOST_BYTES


def first_screen(html):
    """The text above the fold: the decision's section fills the first screen."""
    return Text(html.split('<div class="first">')[1].split("<nav")[0]).text


def test_the_first_screen_has_no_code_and_no_path(two, pilot_folder):
    for report in (two, build_report([pilot_folder])):
        for code in ("en", "ja"):
            html = replace(report, language=code).to_html()
            assert not re.search(r"UC\d{3}|loss\.|`|--|/|\.yaml", first_screen(html))
            named = set(re.findall(r'href="#(UC\d+)"', html))
            assert named == {reason.code for reason in report.decision.reasons}
            assert named <= set(re.findall(r'<dt id="(UC\d+)"', html))


def test_the_page_is_self_contained_and_says_so(two):
    page = Text(two.to_html())
    addresses = [v for k, v in page.attributes if k in ("src", "href") and not v.startswith("#")]
    assert addresses == []
    policy = next(v for k, v in page.attributes if v and v.startswith("default-src"))
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert page.tags.count("h1") == 1


def test_japanese_is_japanese(two):
    english = Text(two.to_html()).text
    page = Text(replace(two, language="ja").to_html())
    assert ("lang", "ja") in page.attributes
    assert ("lang", "en") not in page.attributes
    assert "2026年11月25日 09:05" in page.text
    for words in ("クラス崩壊", "損失の重み", "95%信頼区間", "判定の根拠", "手法の限界"):
        assert words in page.text
    assert set(re.findall(r"UC\d+", english)) == set(re.findall(r"UC\d+", page.text))


def test_markup_in_a_users_file_is_shown_and_not_run(hostile):
    options = ReportOptions(columns=Columns(fine="digit", slices=("site",)), sample=200)
    report = build_report([hostile], options=options)
    html = report.to_html()
    page = Text(html)
    assert SCRIPT in page.text
    assert f"</script>{SCRIPT}" in page.text
    assert "img" not in page.tags
    assert page.tags.count("script") == 3
    assert SCRIPT not in html
    assert IMAGE not in html
    data = json.loads(re.search(r'id="charts">(.*?)</script>', html, re.DOTALL)[1])
    assert SCRIPT in data["data"]["points0"]["c"]
    card = report.to_markdown()
    assert "<script" not in card
    assert "<img" not in card


def test_a_pilot_recommends(pilot, tmp_path):
    path = tmp_path / "pilot.json"
    path.write_text(json.dumps(pilot))
    report = build_report([path])
    assert (report.decision.basis, report.decision.verdict) == ("pilot", "change")
    assert [mark.role for mark in report.marks] == ["before", "recommended"]
    html = report.to_html()
    page = Text(html)
    assert "pilot" in sections(html)
    for words in ("+13.0 points", "3 fresh seeds", "no memory", "failed"):
        assert words in page.text
    assert f"other {SCRIPT}" in page.text
    assert "img" not in page.tags
    assert page.tags.count("script") == 3
    assert IMAGE not in html
    assert SCRIPT not in html


def test_a_pilots_folder_has_the_embeddings_of_before_and_after(pilot_folder):
    report = build_report([pilot_folder])
    assert [case.name for case in report.inputs.cases] == ["start", "recommended"]
    assert [mark.role for mark in report.marks] == ["before", "recommended"]
    html = report.to_html()
    charts = json.loads(re.search(r'id="charts">(.*?)</script>', html, re.DOTALL)[1])
    assert {"phase", "pilot", "picture-0-0", "picture-1-1", "spectrum"} <= set(charts["specs"])
    page = Text(html)
    assert {"transfer", "audit-pilot-conditions"} <= set(sections(html))
    for words in ("7, 8, 9", "Dunnett"):
        assert words in page.text
    assert not {"embeddings", "pair", "probe", "pilot", "setting"} & set(report.absent)


@pytest.mark.parametrize("text", ["{", "[]", '{"measured": {}, "loss": NaN}', '{"seed": 7}'])
def test_a_damaged_trial_of_a_pilot_is_named(text, pilot_folder):
    path = pilot_folder / "trials" / "b" / "seed-0" / "measured-validation-4.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(InputError, match=r"trials/b/seed-0/measured-validation-4\.json"):
        build_report([pilot_folder])


@pytest.mark.parametrize(
    "lacking", ["recommendation", "statistics", "conditions", "start", "layer", "candidates"]
)
def test_a_pilot_that_lacks_a_part_is_still_reported(pilot, lacking, tmp_path):
    del pilot[lacking]
    path = tmp_path / "pilot.json"
    path.write_text(json.dumps(pilot))
    report = build_report([path], "ja")
    assert report.decision.basis == "pilot"
    report.to_html()


def test_the_level_of_the_intervals_is_that_of_the_inputs(pilot, tmp_path):
    rng, labels = np.random.default_rng(0), np.repeat([0, 1], 30)
    vectors = np.eye(2, 8)[labels] + 0.3 * rng.standard_normal((60, 8))
    found = measure(vectors, labels, confidence=0.9, permutations=0)
    (tmp_path / "m.json").write_text(found.to_json())
    (tmp_path / "p.json").write_text(json.dumps(pilot | {"statistics": {"level": 0.9}}))
    for name in ("m.json", "p.json"):
        text = Text(build_report([tmp_path / name]).to_html()).text
        assert "90% interval" in text
        assert "95%" not in text
    both = Text(build_report([tmp_path / "m.json", tmp_path / "p.json"], "ja").to_html()).text
    assert "90%信頼区間" in both


def test_one_measurement_a_comparison_and_a_probe(runs, two, tmp_path):
    first, last = (case.measured[0].measurement for case in two.inputs.cases)
    (tmp_path / "a.json").write_text(first.to_json())
    (tmp_path / "c.json").write_text(json.dumps(compare(first, last).to_dict()))
    state = build_report([tmp_path / "a.json"])
    assert (state.decision.basis, state.decision.verdict) == ("state", first.verdict)
    changed = build_report([tmp_path / "c.json"])
    assert changed.decision.basis == "change"
    probed = build_report([runs[0] / "probe.json"])
    assert probed.decision.basis == "reading"
    assert "measurement" in probed.absent
    for report in (state, changed, probed):
        report.to_html()
        report.to_markdown()


def test_a_run_that_is_predicted_to_collapse_gets_advice(runs):
    report = build_report([runs[0]])
    assert report.decision.verdict in ("at-risk", "collapsed")
    assert [change.key for change in report.decision.changes] == ["loss.alpha"]
    assert report.decision.changes[0].after > 0
    mark = report.marks[-1]
    assert mark.role == "recommended"
    assert abs(mark.variance - 0.2) < 0.02


def test_json_is_strict_versioned_and_complete(two):
    record = json.loads(two.to_json(), parse_constant=lambda name: pytest.fail(name))
    assert (record["schema_version"], record["kind"]) == (1, "report")
    assert record["created"] == WHEN.astimezone().isoformat()
    assert len(record["cases"]) == 2
    assert record["cases"][0]["measured"][0]["found"]["schema_version"] == 1
    assert record["decision"]["headline"]["text"]


def test_the_card_has_metadata_that_is_yaml(two):
    import yaml

    card = two.to_markdown()
    front = yaml.safe_load(card.split("---\n")[1])
    metrics = front["model-index"][0]["results"][0]["metrics"]
    share = two.inputs.cases[-1].measured[0].measurement.share.estimate
    assert metrics[0]["value"] == pytest.approx(share, rel=1e-3)
    assert "## Class collapse report" in card


def test_the_card_is_of_the_run_that_was_given_and_not_of_a_pilots_trial(runs, pilot_folder):
    for paths in ([runs[1], pilot_folder], [pilot_folder, runs[1]]):
        card = build_report(paths).to_markdown()
        assert f'- name: "{runs[1].name}"' in card
    assert "model-index" in build_report([pilot_folder]).to_markdown()


def test_a_stream_is_the_measurement_of_all_rows(monkeypatch, tmp_path):
    """What is too large for memory is summed; the estimates are those of all rows."""
    from uncollapse.report.read import rows

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 3000)
    vectors = np.eye(4, 8)[labels] + 0.3 * rng.standard_normal((3000, 8))
    np.savez(tmp_path / "z.npz", z=vectors, label=labels)
    whole = build_report([tmp_path / "z.npz"]).inputs.cases[0]
    monkeypatch.setattr(rows, "IN_MEMORY_BYTES", 1000)
    report = build_report([tmp_path / "z.npz"], options=ReportOptions(sample=100))
    streamed = report.inputs.cases[0]
    assert streamed.measured[0].streamed
    a, b = streamed.measured[0].measurement.share, whole.measured[0].measurement.share
    assert a.estimate == pytest.approx(b.estimate, abs=1e-12)
    assert len(streamed.points[""].x) == 100
    text = Text(report.to_html()).text
    assert "100 of 3,000 rows" in text
    assert "drawn class by class" in text


def test_a_page_never_grows_beyond_its_size(monkeypatch, hostile):
    from uncollapse.report import page

    whole = build_report([hostile])
    large = len(whole.to_html().encode())
    monkeypatch.setattr(page, "MOST_BYTES", large - 20_000)
    assert len(whole.to_html().encode()) < large - 20_000


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("other.json", '{"a": 1}', "JSON of another kind"),
        ("broken.json", "{", "JSON in"),
        ("new.json", None, "found none"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, name, text, words):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=words):
        build_report([path])


@pytest.mark.parametrize("known", [False, True])
def test_a_picture_of_rows_that_are_no_numbers_is_refused(tmp_path, known):
    rows, labels = np.random.default_rng(0).standard_normal((60, 4)), np.arange(60) % 3
    rows[5, 2] = np.nan
    np.savez(tmp_path / "rows.npz", z=rows, label=labels)
    shard, options = tmp_path / "rows.npz", ReportOptions()
    with pytest.raises(InputError, match="finite numbers in column 'z' of"):
        list(measured_rows(open_shards(shard), shard, options, None, {""} if known else set()))


def test_no_path_and_no_such_language():
    with pytest.raises(InputError, match="a path or more"):
        build_report([])
    with pytest.raises(InputError, match="en or ja"):
        build_report(["x"], "fr")


def test_a_small_collapsed_class_is_in_the_picture_and_dots_are_on_their_axis(tmp_path):
    rng = np.random.default_rng(20260309)
    labels = np.r_[np.zeros(19_980, int), np.repeat([1, 2], 10)]
    spread = np.where(labels == 0, 0.6, 1e-3)[:, None]
    rows = rng.standard_normal((3, 16))[labels] + spread * rng.standard_normal((20_000, 16))
    np.savez(tmp_path / "giant.npz", z=rows, label=labels)
    (case,) = build_report([tmp_path / "giant.npz"]).inputs.cases
    shown = list(next(iter(case.points.values())).label)
    assert len(shown) == 1500
    # Class by class: of the rare ones every row, of the large one the rest.
    assert (shown.count("1"), shown.count("2")) == (10, 10)
    # Two rows in each class have no interval, and estimates that are no smaller for it.
    labels = np.repeat(np.arange(20), 2)
    rows = rng.standard_normal((20, 16))[labels] + 0.5 * rng.standard_normal((40, 16))
    np.savez(tmp_path / "two.npz", z=rows, label=labels)
    (case,) = build_report([tmp_path / "two.npz"]).inputs.cases
    classes = class_rows([case], None)
    drawn = share_rows(classes, language("en"))
    chart = interval_chart(drawn, language("en"), title="share", section="variance")
    most = max(row.measured.share.estimate for row in classes)
    assert all(row.value.high is None for row in classes)
    assert float(re.search(r'"domainMax": ([0-9.]+)', json.dumps(chart))[1]) >= most


def test_names_of_strangers_are_text_in_the_card_and_the_page(tmp_path):
    import yaml

    labels = np.repeat(["\x1b[31mred", "<b>[x](y)</b>\u202e", "😀 |"], 20)
    path = tmp_path / "😀 ```.npz"
    np.savez(path, embeddings=np.eye(3, 8)[np.arange(60) % 3] + 0.1, labels=labels)
    report = build_report([path])
    card, page = report.to_markdown(), report.to_html()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["model-index"][0]["name"] == "😀 ```"
    for text in (card, page.split("<script")[0]):
        assert not set("\x1b\u202e") & set(text)


def test_commands_of_runs_stand_in_a_fence_that_they_cannot_close(runs):
    report = build_report([runs[0]])
    run = report.inputs.cases[0].run
    report.inputs.cases[0].run = replace(run, command=("uncollapse", "train", "a.yaml\n```\n# x"))
    card = report.to_markdown()
    fence, _, rest = card.partition("````sh\n")[2].partition("\n````")
    assert fence.startswith("uncollapse train")
    assert "\n" not in fence
    assert rest


def test_a_change_that_collapses_the_classes_is_called_that():
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(5), 40)
    spread, tight = (
        measure(np.eye(5, 16)[labels] + noise * rng.normal(size=(200, 16)), labels)
        for noise in (0.2, 0.01)
    )
    found = build_report([spread, tight])
    assert found.decision.verdict == "worse"
    assert found.headline.startswith("The change collapses the classes: the share of the variance")
    assert "崩壊" in build_report([spread, tight], "ja").headline
    assert build_report([tight, spread]).headline.startswith("The change spreads the classes")
