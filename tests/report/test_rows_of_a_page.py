"""Rows of a page: which are drawn, their pictures and neighbours; and the auditor's own facts."""

import json

import numpy as np
import pytest
from markup import Text
from PIL import Image

from command_line import call
from uncollapse import ReportOptions, build_report
from uncollapse.errors import InputError
from uncollapse.records import Environment, RunRecord
from uncollapse.report.read.near import nearest_pairs
from uncollapse.report.read.thumbnails import small_pictures
from uncollapse.tables import Columns


@pytest.fixture
def pictured(tmp_path):
    """Three classes; each row has a file, some below the folder, one elsewhere, one no picture."""
    folder = tmp_path / "data"
    folder.mkdir()
    rng, labels = np.random.default_rng(0), np.repeat([0, 1, 2], 6)
    names = [f"{row}.png" for row in range(18)]
    for name in names[:-2]:
        pixels = rng.integers(0, 255, (90, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "secret.png")
    names[-2] = "../secret.png"
    (folder / names[-1]).write_text("no picture")
    rows = np.eye(3, 8)[labels] + 0.1 * rng.standard_normal((18, 8))
    np.savez(folder / "rows.npz", z=rows, label=labels, id=np.arange(18), path=np.array(names))
    return folder


def test_images_below_the_folder_are_embedded_and_no_others(pictured):
    (case,) = build_report([pictured / "rows.npz"]).inputs.cases
    points = case.points[""]
    known = {path for path, at in zip(points.path, points.thumbnail, strict=True) if at is not None}
    assert known == {f"{row}.png" for row in range(16)}
    assert len(points.thumbnails) == 16
    assert all(address.startswith("data:image/jpeg;base64,") for address in points.thumbnails)


def test_pictures_stay_below_their_number_and_size(pictured, monkeypatch):
    from uncollapse.report.read import thumbnails

    paths = [f"{row}.png" for row in range(16)]
    monkeypatch.setattr(thumbnails, "MOST", 3)
    places, found = small_pictures(paths, [7, 2], pictured)
    assert (places[7], places[2], places[0], len(found)) == (0, 1, 2, 3)
    monkeypatch.setattr(thumbnails, "MOST_BYTES", sum(map(len, found)) - 1)
    assert len(small_pictures(paths, [7, 2], pictured)[1]) == 2


def test_two_sides_share_the_room_and_keep_their_own_pictures(pictured, monkeypatch):
    import shutil

    other = shutil.copytree(pictured, pictured.parent / "other")
    Image.fromarray(np.zeros((50, 50), np.uint8)).save(other / "0.png")
    shutil.move(other / "rows.npz", other / "after.npz")
    report = build_report([pictured / "rows.npz", other / "after.npz"])
    before, after = (case.points[""] for case in report.inputs.cases)

    def charts():
        return json.loads(report.to_html().split('id="charts">')[1].split("</script>")[0])

    found = charts()
    assert found["thumbnails"] == {
        "points0": list(before.thumbnails),
        "points1": list(after.thumbnails),
    }
    assert before.thumbnails != after.thumbnails
    monkeypatch.setattr("uncollapse.report.page.MOST", 6)
    assert [len(kept) for kept in charts()["thumbnails"].values()] == [3, 3]


def test_nearest_pairs_are_those_of_all_cosines():
    rng, codes = np.random.default_rng(1), np.arange(60) % 3
    rows = rng.standard_normal((60, 5))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = set()
    for row in range(60):
        others = [o for o in range(60) if o != row and codes[o] == codes[row]]
        best = max(others, key=lambda o: float(rows[row] @ rows[o]))
        expected.add((min(row, best), max(row, best)))
    found = nearest_pairs(rows, codes)
    assert {(pair.first, pair.second) for pair in found} == expected
    assert [p.cosine for p in found] == sorted((p.cosine for p in found), reverse=True)
    for pair in found:
        assert pair.cosine == pytest.approx(float(rows[pair.first] @ rows[pair.second]))


def test_every_class_is_drawn_before_any_has_two_and_the_worst_come_first(tmp_path):
    rng = np.random.default_rng(2)
    labels = np.r_[np.zeros(2000, int), np.repeat(np.arange(1, 301), 3)]
    spread = np.where(labels == 150, 1e-3, 0.4)[:, None]
    rows = rng.standard_normal((301, 16))[labels] + spread * rng.standard_normal((2900, 16))
    np.savez(tmp_path / "many.npz", z=rows, label=labels)
    report = build_report([tmp_path / "many.npz"], options=ReportOptions(sample=320))
    drawn = list(report.inputs.cases[0].points[""].label)
    assert len(set(drawn)) == 301
    assert len(drawn) == 320
    page = report.to_html()
    table = page.split('id="variance"')[1].split("<tbody>")[1]
    assert table.count("<tr>", 0, table.index("</tbody>")) == 301
    assert Text(table).text.split()[0] == "150"


def test_the_auditor_finds_who_what_and_where(pictured, tmp_path):
    options = ReportOptions(
        intended_use="sorting <b>forms</b>", deployed_layer="projector", approver="A. Sato"
    )
    report = build_report([pictured / "rows.npz"], options=options, folder=tmp_path)
    page = Text(report.to_html())
    for words in ("sorting <b>forms</b>", "A. Sato", "label: label", "data/rows.npz", "Annex IV"):
        assert words in page.text
    assert str(tmp_path) not in page.text.replace("data/rows.npz", "")
    assert not {"intended-use", "deployed-layer", "approver", "columns"} & set(report.absent)
    record = json.loads(report.to_json())
    assert record["made"]["cores"] > 0
    assert record["use"]["approver"] == "A. Sato"


def test_a_run_holds_its_machine_and_older_ones_none(runs):
    record = RunRecord.read(runs[0] / "run.json")
    assert record.environment.system
    assert record.environment.versions["python"]
    text = json.loads((runs[0] / "run.json").read_text())
    del text["environment"]
    assert RunRecord.from_dict(text).environment is None


def test_the_commit_is_read_from_gits_files(tmp_path, monkeypatch):
    git, commit = tmp_path / ".git", "0123456789" * 4
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    below = tmp_path / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    assert Environment.now().commit == ""
    (git / "packed-refs").write_text(f"# pack-refs\n{commit} refs/heads/main\n")
    assert Environment.now().commit == commit
    (git / "refs/heads/main").write_text("f" * 40 + "\n")
    assert Environment.now().commit == "f" * 40
    (git / "HEAD").write_text(f"{commit}\n")
    assert Environment.now().commit == commit


def test_a_table_of_rows_shows_what_is_worth_a_look(pictured, tmp_path, monkeypatch):
    monkeypatch.chdir(pictured)
    rng, labels = np.random.default_rng(5), np.repeat([0, 1, 2], 40)
    rows = np.eye(3, 8)[labels] + 0.1 * rng.standard_normal((120, 8))
    labels[2], rows[9] = 1, rows[8]  # a wrong label, a copy
    files = np.array([f"{row % 16}.png" for row in range(120)])
    pixels = rng.standard_normal((120, 12))
    np.savez("rows.npz", z=rows, label=labels, id=np.arange(120), path=files, pixels=pixels)
    words = ("measure", "rows.npz", "--embedding", "z", "--reference-embedding", "pixels")
    done = call(*words, "--rows", "looks.parquet")
    assert "uncollapse report rows.npz looks.parquet --embedding z" in done.stdout
    columns = Columns(embedding="z")
    report = build_report(["rows.npz", "looks.parquet"], options=ReportOptions(columns=columns))
    looks = report.inputs.cases[0].looks
    assert (looks.rows, looks.near[0].value) == (120, 1.0)
    assert {looks.near[0].name, looks.near[0].other} == {"8", "9"}
    assert len({frozenset((one.name, one.other)) for one in looks.near}) == len(looks.near)
    assert [(one.name, one.other) for one in looks.doubted] == [("2", "0")]
    assert [one.value for one in looks.lost] == sorted((o.value for o in looks.lost), reverse=True)
    assert looks.thumbnails[looks.doubted[0].picture].startswith("data:image/jpeg;base64,")
    page = report.to_html()
    for name in ("nearest-rows", "doubted-labels", "lost-rows"):
        assert f'data-csv="{name}" data-pictures="rows"' in page
    assert "looks.parquet" in Text(page).text
    with pytest.raises(InputError, match="what was measured before the table"):
        build_report(["looks.parquet"])


def test_a_headline_names_the_column_that_a_record_holds(pictured, monkeypatch):
    monkeypatch.chdir(pictured)
    done = call("measure", "rows.npz", "--embedding", "z", "--json")
    record = json.loads(done.stdout)
    assert record["conditions"]["columns"] == {"embedding": "z", "label": "label"}
    record["conditions"]["columns"]["embedding"] = "layer4"
    (pictured / "measured.json").write_text(json.dumps(record))
    assert "layer4" in build_report(["measured.json"]).headline
    del record["conditions"]["columns"]  # as older versions wrote it
    (pictured / "measured.json").write_text(json.dumps(record))
    assert "layer4" not in build_report(["measured.json"]).headline
