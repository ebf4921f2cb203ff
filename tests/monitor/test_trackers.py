"""W&B and trackio get numbers and report from both trainers: read back from their own files."""

import json
import sqlite3
import struct
import subprocess
import sys
import time

import pytest
from test_callbacks import digits, first_token, hugging, lit, of_lightning  # noqa: F401
from torch.utils.data import DataLoader

of_services = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


@pytest.fixture
def wandb(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    import wandb

    yield wandb
    wandb.finish()
    wandb.teardown()


def _records(folder):
    """Of an offline run of W&B: LevelDB's log, in blocks of 32 KiB, after 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("wandb/offline-run*/*.wandb")
    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole one, or the last part
            yield wandb_internal_pb2.Record.FromString(whole)
            whole = b""


def in_wandb(folder, name):
    """The values of a metric, and the names of the artifacts that were logged."""
    values, artifacts, end = [], [], time.monotonic() + 60
    while True:  # its service writes the end of a run after `finish` has come back
        records = list(_records(folder))
        if any(record.HasField("exit") for record in records) or time.monotonic() > end:
            break
        time.sleep(0.1)
    for record in records:
        for item in record.history.item:
            if name in (item.key, *item.nested_key):
                values.append(json.loads(item.value_json))
        if record.request.log_artifact.artifact.name:
            artifacts.append(record.request.log_artifact.artifact.name)
        if record.artifact.name:
            artifacts.append(record.artifact.name)
    return values, artifacts


@pytest.fixture
def trackio_folder(monkeypatch, tmp_path):
    """trackio in a folder: its requirement of an older Pillow would hold for all tests else."""
    packages = ["trackio==0.43.0", "gradio_client==2.7.2", "orjson>=3.10", "python-multipart"]
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile"]
    subprocess.run([*install, "--target", tmp_path / "packages", *packages], check=True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "packages")])
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    return tmp_path / "trackio"


@pytest.mark.slow
@of_services
def test_wandb_and_trackio_of_the_trainer(tmp_path, wandb, trackio_folder):
    watch = {"log_report": True}
    report_to = ["wandb", "trackio"]
    _, callback = hugging("vit", tmp_path / "out", first_token, report_to=report_to, watch=watch)
    wandb.finish()
    wandb.teardown()
    shares = pytest.approx([found.share.estimate for _, found in callback.measurements])
    assert in_wandb(tmp_path, "eval/collapse_share") == (shares, ["collapse-report"])
    with sqlite3.connect(trackio_folder / "huggingface.db") as database:
        logged = [json.loads(row) for (row,) in database.execute("select metrics from metrics")]
        artifacts = database.execute("select name from artifacts").fetchall()
    assert [
        line["eval/collapse_share"] for line in logged if "eval/collapse_share" in line
    ] == shares
    assert artifacts == [("collapse-report",)]


@pytest.mark.slow
@of_lightning
@of_services
def test_wandb_of_lightning(digits, tmp_path, wandb):  # noqa: F811
    from lightning.pytorch.loggers import WandbLogger

    from uncollapse.monitor.lightning import CollapseCallback

    callback = CollapseCallback(log_report=True)
    logger = WandbLogger("run", save_dir=tmp_path, project="collapse", offline=True)
    module, trainer = lit(False, callbacks=[callback], logger=logger)
    loader = DataLoader(digits, 100)
    trainer.fit(module, loader, loader)
    wandb.finish()
    wandb.teardown()
    values, artifacts = in_wandb(tmp_path, "collapse/share")
    assert values == pytest.approx([found.share.estimate for _, found in callback.measurements])
    assert artifacts == ["collapse-report"]
