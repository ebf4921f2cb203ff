"""`uncollapse probe` as a user runs it."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from known import coarse_to_fine
from safetensors.numpy import save_file
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from uncollapse.cli import app
from uncollapse.errors import InputError
from uncollapse.probes import ProbeResult

RUN = CliRunner()


def invoke(*words):
    return RUN.invoke(app, ["probe", *map(str, words)])


@pytest.fixture
def run_folder(tmp_path, rng):
    """The folder of a run, embedded as the contract says: two layers, two views."""
    data = coarse_to_fine(rng, True, n=240)
    rows = np.repeat(data.layers["z"], 2, axis=0).astype(np.float32)
    rows += 0.01 * rng.standard_normal(rows.shape, dtype=np.float32)
    ids = np.repeat([f"image {k}" for k in range(240)], 2)

    def vectors(matrix):
        return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])

    names = {name: np.repeat(values, 2).astype(str) for name, values in data.targets.items()}
    site = np.repeat(rng.integers(0, 2, 240), 2).astype(str)
    table = pa.table(
        {
            "id": ids,
            "split": np.repeat(data.split, 2),
            "label": names["label"],
            "instance": ids,
            "view": np.tile(np.arange(2, dtype=np.int32), 240),
            "fine": names["fine"],
            "site": site,
            "backbone": vectors(np.hstack([rows, rows[:, :3]])),
            "projector": vectors(rows),
        }
    )
    head = {"schema_version": 1, "fine": ["fine"], "slices": ["site"]}
    head["layers"] = ["backbone", "projector"]
    table = table.replace_schema_metadata({"uncollapse": json.dumps(head)})
    folder = tmp_path / "run"
    folder.mkdir()
    pq.write_table(table, folder / "embeddings.parquet")
    return folder


def test_a_run_is_read_by_its_own_metadata(run_folder, tmp_path):
    out = tmp_path / "probes.json"
    answer = invoke(run_folder, "--draws", 3, "-o", out, "--json")
    assert answer.exit_code == 0, answer.output
    assert answer.stderr == ""
    found = ProbeResult.from_json(out.read_text())
    assert found.to_json() == answer.stdout.strip()
    assert [(t.layer, t.target, t.role) for t in found.targets] == [
        (layer, target, role)
        for layer in ("backbone", "projector")
        for target, role in (("label", "label"), ("fine", "fine"), ("site", "slice"))
    ]
    assert found.conditions.data[0].unit == "instance"
    fine = found.target("projector", "fine").reading("within-class knn").score
    assert fine.chance_corrected.low > 0.8
    site = found.target("projector", "site").reading("within-class knn").score
    assert site.chance_corrected.low < 0.2


@pytest.mark.parametrize(
    ("key", "value"), [("schema_version", 2), ("views", -1), ("layers", "z"), ("kind", "run")]
)
def test_metadata_that_do_not_fit_are_named(run_folder, key, value):
    path = run_folder / "embeddings.parquet"
    table = pq.read_table(path)
    head = json.loads(table.schema.metadata[b"uncollapse"]) | {key: value}
    pq.write_table(table.replace_schema_metadata({"uncollapse": json.dumps(head)}), path)
    answer = invoke(run_folder, "--json")
    assert isinstance(answer.exception, InputError)
    assert str(path) in str(answer.exception)
    assert key in str(answer.exception)


def test_an_archive_says_what_it_holds_as_parquet_does(run_folder, tmp_path):
    table = pq.read_table(run_folder / "embeddings.parquet")
    arrays = {name: np.array(table[name].to_pylist()) for name in table.column_names}
    about = np.array(table.schema.metadata[b"uncollapse"].decode())
    np.savez(tmp_path / "e.npz", **arrays, about=about)
    answers = [
        json.loads(invoke(path, "--draws", 3, "--json").stdout)
        for path in (run_folder / "embeddings.parquet", tmp_path / "e.npz")
    ]
    assert answers[0]["targets"] == answers[1]["targets"]
    assert answers[0]["conditions"]["data"][0]["unit"] == "instance"


def test_digits_from_npz_and_safetensors_with_downstream(tmp_path):
    digits = load_digits(n_class=4)
    arrays = {"z": digits.data, "label": digits.target % 2, "digit": digits.target}
    np.savez(tmp_path / "d.npz", **arrays)
    save_file(arrays, tmp_path / "d.safetensors")
    np.savez(tmp_path / "other.npz", z=digits.data, label=digits.target > 1)
    words = ("--target", "digit", "--downstream", tmp_path / "other.npz", "--shots", "2,3")
    answer = invoke(tmp_path / "d.npz", *words)
    assert answer.exit_code == 0, answer.output
    for text in ("digit (fine) at z: 4 values", "other: label (label) at z", "2-shot", "cut here"):
        assert text in answer.output
    assert "within-class linear" in answer.output
    same = invoke(tmp_path / "d.safetensors", *words)
    assert same.output == answer.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{d}", "--target", "species"], "found columns z, label, digit, same, fold"),
        (["{d}", "--layer", "backbone"], "'backbone'"),
        (["{d}", "--target", "one"], "columns"),
        (["{d}", "--target", "same"], "same up to names"),
        (["{d}", "--target", "label", "--shots", "500"], "500 shots"),
        (["{d}", "--shots", "few"], "whole numbers"),
        (["{d}", "--split", "fold"], "or test in column 'fold'"),
        (["{run}"], "uncollapse embed {run} -o {run}/embeddings.parquet"),
        (["{d}", "--downstream", "{nan}"], "NaN"),
        (["{nan}"], "NaN"),
        (["{run}/nowhere.npz"], "nowhere.npz"),
    ],
)
def test_misuse_is_named(tmp_path, words, message):
    digits = load_digits(n_class=4)
    arrays = {"z": digits.data, "label": digits.target % 2, "digit": digits.target}
    arrays |= {"same": 3 - digits.target % 2, "fold": digits.target}
    np.savez(tmp_path / "d.npz", **arrays)
    np.savez(tmp_path / "nan.npz", **(arrays | {"z": np.where(digits.data > 15, np.nan, 1.0)}))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    names = {"d": tmp_path / "d.npz", "nan": tmp_path / "nan.npz", "run": tmp_path / "run"}
    answer = invoke(*[word.format(**names) for word in words])
    assert answer.exit_code != 0
    assert message.format(**names) in str(answer.exception)
    assert isinstance(answer.exception, InputError)
