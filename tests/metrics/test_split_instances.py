"""A stream drops and names the instances of two classes or groups that one call does."""

import numpy as np
import pytest
from embeddings import cloud
from typer.testing import CliRunner

from uncollapse.cli import app
from uncollapse.errors import InputError
from uncollapse.metrics import Columns, measure_files

COLUMNS = Columns(instance="part", group="patient")


@pytest.fixture(params=["npz", "npy"])
def files(request, rng, tmp_path, monkeypatch):
    """Two shards in which instances 1 and 7 come back: in another class, and in another group."""
    monkeypatch.setattr("uncollapse.metrics.streamed_files._STREAM_ROWS", 9)
    rows, labels, instances = cloud(rng, (20, 20), views=2)
    groups = instances // 2
    rows[3] = np.nan
    groups[15] = 19  # instance 7 again, with another fault than the next one
    at = np.r_[0:15, 16:80, 15, 2]
    rows, labels, instances, groups = rows[at], labels[at], instances[at], groups[at]
    labels[-1] = 1
    shards = []
    for k, part in enumerate((slice(0, 40), slice(40, None))):
        names = {"label": labels[part], "part": instances[part], "patient": groups[part]}
        if request.param == "npz":
            np.savez(tmp_path / f"{k}.npz", z=rows[part], **names)
            shards.append((tmp_path / f"{k}.npz", None))
        else:
            np.save(tmp_path / f"z{k}.npy", rows[part])
            np.savez(tmp_path / f"y{k}.npz", **names)
            shards.append((tmp_path / f"z{k}.npy", tmp_path / f"y{k}.npz"))
    return [z for z, _ in shards], [y for _, y in shards if y is not None]


def test_a_stream_drops_what_one_call_drops(files):
    paths, labels_from = files
    given = {"labels_from": labels_from, "columns": COLUMNS, "drop_invalid": True}
    whole = measure_files(paths, stream=False, permutations=0, **given)
    stream = measure_files(paths, stream=True, interval="exact", **given)
    expected = {"not_finite": 1, "instance_in_two_classes": 2, "instance_in_two_groups": 2}
    assert whole.conditions["dropped"] == stream.conditions["dropped"] == expected
    assert stream.share.to_dict() == pytest.approx(whole.share.to_dict(), rel=1e-9)


def test_a_stream_names_what_one_call_names(files, tmp_path):
    paths, labels_from = files
    for path in [*paths, *labels_from]:
        with np.load(path) if path.suffix == ".npz" else path.open("rb") as archive:
            arrays = dict(archive) if path.suffix == ".npz" else {"z": np.load(archive)}
        if "z" in arrays:
            arrays["z"] = np.nan_to_num(arrays["z"], nan=1.0)
        np.savez(path, **arrays) if path.suffix == ".npz" else np.save(path, arrays["z"])
    messages = set()
    for stream in (False, True):
        with pytest.raises(
            InputError, match="3 of 81 rows with an instance id that other"
        ) as error:
            measure_files(paths, labels_from=labels_from, columns=COLUMNS, stream=stream)
        messages.add(str(error.value))
    assert len(messages) == 1
    assert f"{(labels_from or paths)[0]} and 1 more" in messages.pop()


def test_rows_of_an_instance_that_are_apart_are_no_invalid_rows(rng, tmp_path, monkeypatch):
    monkeypatch.setattr("uncollapse.metrics.streamed_files._STREAM_ROWS", 9)
    rows, labels, instances = cloud(rng, (20, 20), views=2)
    at = np.r_[1:80, 0]
    np.savez(tmp_path / "d.npz", z=rows[at], label=labels[at], part=instances[at])
    command = ["measure", str(tmp_path / "d.npz"), "--instance", "part", "--drop-invalid"]
    error = CliRunner().invoke(app, [*command, "--stream"]).exception
    assert "sort the rows by instance" in str(error)
    assert CliRunner().invoke(app, command).exit_code == 0
