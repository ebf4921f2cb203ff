"""What callbacks keep of a run: numbers in its loggers, a line a measurement, the report."""

import json
import warnings
from functools import partial

import pytest
import torch
from test_callbacks import digits, embed, first_token, hugging, lit, of_lightning  # noqa: F401
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from uncollapse import decode_loss
from uncollapse.errors import InputError
from uncollapse.monitor import CollapseWarning, StuckLoss
from uncollapse.monitor._watch import Watch
from uncollapse.records import read_watched

of_mlflow = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture
def mlflow(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
    mlflow.set_tracking_uri(f"file:{tmp_path / 'mlruns'}")
    yield mlflow
    while mlflow.active_run() is not None:
        mlflow.end_run()


def in_tensorboard(folder, tag):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(tag)}


def assert_kept(callback, folder):
    """A line for every measurement, and the report of the first and the last."""
    kept = read_watched(folder / "collapse.jsonl")
    assert [(line.step, line.measurement) for line in kept] == callback.measurements
    assert [(line.step, line.retention) for line in kept] == callback.retentions
    assert "collapse" in (folder / "collapse-report.html").read_text("utf-8")


@pytest.mark.slow
@of_lightning
@of_mlflow
def test_lightning_loggers_get_numbers_and_report(digits, tmp_path, mlflow):  # noqa: F811
    from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger

    from uncollapse.monitor.lightning import CollapseCallback

    board = TensorBoardLogger(tmp_path, "board")
    flow = MLFlowLogger("all", tracking_uri=f"file:{tmp_path / 'mlruns'}")
    callback = CollapseCallback(log_report=True)
    module, trainer = lit(False, callbacks=[callback], logger=[board, flow])
    loader = DataLoader(digits, 100)
    trainer.fit(module, loader, loader)
    shares = {step: found.share.estimate for step, found in callback.measurements}
    logged = in_tensorboard(board.log_dir, "collapse/share")
    assert list(logged.values()) == pytest.approx(list(shares.values()))
    history = flow.experiment.get_metric_history(flow.run_id, "collapse/share")
    assert [point.value for point in history] == pytest.approx(list(shares.values()))
    files = [file.path for file in flow.experiment.list_artifacts(flow.run_id)]
    assert "collapse-report.html" in files
    assert_kept(callback, tmp_path / "board" / "version_0")


@pytest.mark.slow
@of_mlflow
def test_trainer_integrations_get_numbers_and_report(tmp_path, mlflow, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    _, callback = hugging(
        "vit",
        tmp_path / "out",
        first_token,
        report_to=["mlflow", "tensorboard"],
        watch={"log_report": True},
    )
    shares = {step: found.share.estimate for step, found in callback.measurements}
    assert in_tensorboard(tmp_path / "board", "eval/collapse_share") == pytest.approx(shares)
    (run,) = mlflow.search_runs(output_format="list", search_all_experiments=True)
    client = mlflow.MlflowClient()
    history = client.get_metric_history(run.info.run_id, "eval_collapse_share")
    assert {point.step: point.value for point in history} == pytest.approx(shares)
    files = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert "collapse-report.html" in files
    assert_kept(callback, tmp_path / "out")
    assert run.info.status == "FINISHED"


def watched(model, watch, data, folder, step):
    watch._numbers(model, DataLoader(data, 100), step, sharded=False, tell=True)
    watch._write_record(folder)


def test_every_measurement_is_a_line_of_one_file(digits, tmp_path):  # noqa: F811
    torch.manual_seed(0)
    model, watch = nn.Linear(64, 8), Watch(embed, None)
    watch._remember_start(model, DataLoader(digits, 100), sharded=False)
    watched(model, watch, digits, tmp_path, 1)
    path = tmp_path / "collapse.jsonl"
    path.write_bytes(path.read_bytes() + b'{"kind": "watched')  # a run that was killed here
    assert len(read_watched(path)) == 1
    watched(model, watch, digits, tmp_path, 2)
    lines = read_watched(path)
    assert [line.step for line in lines] == [1, 2]
    assert [line.measurement for line in lines] == [record for _, record in watch.measurements]
    assert lines[0].retention.estimate == pytest.approx(1)
    assert json.loads(path.read_text().splitlines()[0])["kind"] == "watched-measurement"
    with pytest.raises(InputError, match=r"a file of measurements at .*none\.jsonl"):
        read_watched(tmp_path / "none.jsonl")


def test_where_it_is_kept_and_what_cannot_be_written(digits, tmp_path):  # noqa: F811
    model = nn.Linear(64, 8)
    watched(model, Watch(embed, None, records=False), digits, tmp_path, 1)
    watched(model, Watch(embed, None), digits, None, 1)  # a run without a folder
    assert list(tmp_path.iterdir()) == []
    watched(model, Watch(embed, None, records=tmp_path / "a" / "b.jsonl"), digits, None, 1)
    assert len(read_watched(tmp_path / "a" / "b.jsonl")) == 1
    with pytest.warns(CollapseWarning, match="not kept in"):
        watched(model, Watch(embed, None, records="a"), digits, tmp_path, 1)


def constant(dim):
    """An encoder whose output does not depend on its input."""
    layer = nn.Linear(64, dim)
    nn.init.zeros_(layer.weight)
    return layer


@of_lightning
def test_lightning_says_that_a_run_is_stuck(tmp_path):
    import lightning.pytorch as pl

    from uncollapse import SupCLLoss
    from uncollapse.monitor.lightning import CollapseCallback

    class Module(pl.LightningModule):
        def __init__(self, encoder):
            super().__init__()
            self.encoder, self.criterion = encoder, SupCLLoss(alpha=0.2, temperature=0.1)

        def training_step(self, batch):
            views = torch.stack([batch[0], batch[0] + 0.1 * torch.randn_like(batch[0])], dim=1)
            return self.criterion(self.encoder(views), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.encoder.parameters(), 1e-3 if self.learns else 0.0)

    labels = torch.arange(64) % 4
    data = TensorDataset(torch.randn(64, 64) + 3 * torch.eye(4, 64)[labels], labels)
    decode = partial(decode_loss, batch=32, temperature=0.1, alpha=0.2)
    for encoder, learns in ((constant(16), False), (nn.Linear(64, 16), True)):
        callback = CollapseCallback(decode=decode)
        module = Module(encoder)
        module.learns = learns
        _, trainer = lit(False, callbacks=[callback], max_epochs=60, accumulate_grad_batches=2)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            callback._stuck = StuckLoss(decode, steps=100)
            trainer.fit(module, DataLoader(data, 32))
        told = [str(w.message) for w in caught if w.category is CollapseWarning]
        told = [words for words in told if "when the trainer validates" not in words]
        assert [state.state for _, state in callback.stuck] == ([] if learns else ["identical"])
        assert len(told) == len(callback.stuck)


def test_the_trainer_callback_sees_what_is_logged(tmp_path):
    """Means of as many steps as lie between two lines of the log; other lines have no loss."""
    from types import SimpleNamespace

    from uncollapse.monitor.transformers import CollapseCallback

    decode = partial(decode_loss, batch=64, temperature=0.1, convention="supcontrast")
    callback = CollapseCallback(None, embed, decode=decode)
    told = []
    for step in range(0, 500, 25):
        state = SimpleNamespace(global_step=step, is_world_process_zero=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            callback.on_log(None, state, None, logs={"loss": 6.9205, "epoch": 1.0})
            callback.on_log(None, state, None, logs={"eval_loss": 1.0})
        told += [str(warning.message) for warning in caught]
    assert [(step, state.state) for step, state in callback.stuck] == [(200, "identical")]
    assert len(told) == 1
    assert told[0].startswith("step 200: the loss has stood at 6.9205 for 200 steps")
