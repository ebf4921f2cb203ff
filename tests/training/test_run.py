"""The loop: resumed and many-process runs equal a plain one, and what goes wrong loses nothing."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import main, problem_of

from declared import TENSORS, arrays, safetensors_file
from processes import exit_code
from uncollapse.errors import InputError
from uncollapse.metrics import Columns, measure, measure_files
from uncollapse.probes import embedded_files
from uncollapse.records import EpochLine
from uncollapse.theory import predict
from uncollapse.training import embed, embed_rows, joined, load_trained, read_run, train
from uncollapse.training._checkpoint import read_checkpoint

HERE = Path(__file__).parent


def launched(*words):
    """Python as a user starts it, in a session of its own."""
    command = [sys.executable, *map(str, words)]
    subprocess.run(command, check=True, capture_output=True, start_new_session=True)


def weights(folder):
    return read_checkpoint(Path(folder) / "checkpoints").model


def losses(folder):
    return [line["loss"] for line in EpochLine.read_all(Path(folder) / "metrics.jsonl")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run of `runs` that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    main(folder)
    return folder


@pytest.mark.slow
def test_a_killed_and_resumed_run_has_the_same_weights_bit_for_bit(whole, tmp_path):
    assert exit_code(main, tmp_path, "kill=4") == -signal.SIGKILL
    assert exit_code(main, tmp_path, "resume", "kill=11") == -signal.SIGKILL
    main(tmp_path, "resume")
    expected, resumed = weights(whole), weights(tmp_path)
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    assert losses(whole) == losses(tmp_path)


@pytest.mark.slow
def test_a_run_that_is_asked_to_stop_saves_the_step_and_goes_on(whole, tmp_path):
    launched(str(HERE / "runs.py"), tmp_path, "stop=4", "workers")
    assert read_run(tmp_path)[1].status == "interrupted"
    assert read_checkpoint(tmp_path / "checkpoints").state.step == 4
    main(tmp_path, "resume", "workers")
    expected, resumed = weights(whole), weights(tmp_path)
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


@pytest.mark.slow
def test_two_processes_are_one_with_the_same_global_batch(whole, tmp_path):
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    launched(*torchrun, str(HERE / "runs.py"), tmp_path / "two")
    assert losses(tmp_path / "two") == pytest.approx(losses(whole), abs=1e-5)


def test_a_run_writes_what_an_auditor_needs(tmp_path):
    problem = problem_of(epochs=1)
    prediction = predict(problem.setting(), thresholds=False)
    noted = {"prediction": prediction, "ticket": 7}
    result = train(problem, tmp_path / "run", record=noted)
    config, record = read_run(tmp_path / "run")
    assert config == problem.config
    assert record["status"] == "finished"
    assert record.prediction == prediction
    written = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (written["kind"], written["ticket"]) == ("run", 7)
    assert record["data"]["fingerprint"] == problem.data.description.fingerprint
    assert written["setting"]["batch"] == {"kind": "random", "size": 64}
    assert result.step == problem.sampler.steps == len(losses(tmp_path / "run")) * result.step
    with pytest.raises(InputError, match="one that holds a run"):
        train(problem, tmp_path / "run")
    changed = problem_of(epochs=1, loss={"alpha": 0.3, "temperature": 0.1})
    with pytest.raises(InputError, match="loss differ"):
        train(changed, tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="a run to resume"):
        train(problem, tmp_path / "other", resume=True)


def test_a_run_that_is_at_work_is_not_resumed_and_its_files_follow_the_umask(tmp_path):
    problem, refused = problem_of(epochs=2), []

    def again(step):
        if step.done == 3:
            with pytest.raises(InputError, match="no other run at work") as error:
                train(problem_of(epochs=2), tmp_path, resume=True)
            refused.append(error)

    mask = os.umask(0o027)
    try:
        train(problem, tmp_path, progress=again)
    finally:
        os.umask(mask)
    assert len(refused) == 1
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.safetensors")}
    assert modes == {0o640}


def test_no_pipe_in_a_checkpoint_is_waited_for(half_a_run, tmp_path):
    shutil.copytree(half_a_run, tmp_path / "run")
    (weights,) = (tmp_path / "run").glob("checkpoints/*/model.safetensors")
    weights.unlink()
    os.mkfifo(weights)
    with pytest.raises(InputError, match="no file"):
        train(problem_of(epochs=2), tmp_path / "run", resume=True)


def test_what_json_cannot_hold_is_not_noted(tmp_path):
    for value in (float("nan"), object()):
        with pytest.raises(InputError, match="a record of what JSON holds"):
            train(problem_of(epochs=1), tmp_path, record={"x": value})
    assert not (tmp_path / "run.json").exists()


def test_a_run_of_before_there_were_kinds_is_resumed(tmp_path):
    """Batches by the names of their classes, no kind, no prediction, a setting without answer."""
    problem = problem_of(epochs=2)
    train(problem, tmp_path, until=1)
    path = tmp_path / "run.json"
    written = json.loads(path.read_text())
    for key in ("kind", "prediction"):
        del written[key]
    written["setting"]["batch"] = {"kind": "RandomBatch", "size": 64}
    path.write_text(json.dumps(written))
    assert read_run(tmp_path)[1].setting == problem.setting()
    assert train(problem, tmp_path, resume=True).history[-1]["epoch"] == 2
    written["setting"]["class_counts"] = [0, 5]
    path.write_text(json.dumps(written))
    assert read_run(tmp_path)[1].setting is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.json", "{"),
        ("run.json", '{"status": 5}'),
        ("checkpoints/last.json", "[]"),
        ("checkpoints/*/state.json", '{"step": "x"}'),
        ("checkpoints/*/state.json", "{}"),
        ("metrics.jsonl", '{"epoch": 1}\n{}\n'),
        ("checkpoints/best.json", '{"checkpoint": 1}'),
        ("checkpoints/best.json", '{"checkpoint": "step-000000099"}'),
        ("checkpoints/last.json", '{"checkpoint": "../../elsewhere"}'),
        ("checkpoints/*/model.safetensors", "short"),
        ("config.yaml", ""),
        ("config.yaml", "[" * 5000),
    ],
)
def test_a_damaged_file_is_named(name, text, tmp_path):
    problem = problem_of(epochs=2)
    train(problem, tmp_path, until=1)
    for path in [*tmp_path.glob(name)] or [tmp_path / name]:
        path.write_text(text)
    with pytest.raises(InputError, match=Path(name).name):
        train(problem, tmp_path, resume=True)


@pytest.fixture(scope="module")
def half_a_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("half")
    train(problem_of(epochs=2), folder, until=1)
    return folder


GONE = object()
DAMAGES = [
    ("optimiser", GONE),
    ("optimiser", [1]),
    ("optimiser.groups", GONE),
    ("optimiser.groups", []),
    ("optimiser.groups", "none"),
    ("optimiser.groups.0.lr", float("nan")),
    ("optimiser.groups.0.lr", "fast"),
    ("optimiser.groups.0.weight_decay", GONE),
    ("optimiser.groups.0.params", [0, "x"]),
    ("optimiser.groups.0.params", [0, 99]),
    ("optimiser.groups.1.params", GONE),
    ("optimiser.numbers", {"0.momentum_buffer": 3}),
    ("epoch", GONE),
    ("epoch", -1),
    ("epoch", 7),
    ("offset", 1),
    ("offset", "1"),
    ("step", 5),
    ("step", 1.5),
    ("seconds", GONE),
    ("seconds", -1.0),
    ("seconds", float("inf")),
    ("means.steps", 3),
    ("means.sums", {"loss": None}),
    ("best", {"by": "projector/accuracy", "value": "high", "step": 1, "epoch": 1}),
]


@pytest.mark.parametrize(("key", "value"), DAMAGES)
def test_a_damaged_state_is_named_by_file_and_key_and_nothing_is_written(key, value, half_a_run):
    (path,) = half_a_run.glob("checkpoints/*/state.json")
    whole = path.read_text()
    record = json.loads(whole)
    *parents, last = (int(name) if name.isdigit() else name for name in key.split("."))
    block = record
    for name in parents:
        block = block[name]
    if value is GONE:
        del block[last]
    else:
        block[last] = value
    path.write_text(json.dumps(record))
    before = {file: file.read_bytes() for file in half_a_run.rglob("*") if file.is_file()}
    try:
        with pytest.raises(InputError, match=r"state\.json") as error:
            train(problem_of(epochs=2), half_a_run, resume=True)
        assert key.partition(".0")[0].partition(".1")[0] in str(error.value)
        after = {file: file.read_bytes() for file in half_a_run.rglob("*") if file.is_file()}
        assert after == before
    finally:
        path.write_text(whole)


def test_tensors_of_another_optimiser_are_named(half_a_run, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(half_a_run, tmp_path / "run")
    (path,) = (tmp_path / "run").glob("checkpoints/*/optimiser.safetensors")
    tensors = load_file(path)
    key = next(iter(tensors))
    for other in ({"99.momentum_buffer": torch.ones(1)}, {key: torch.ones(2, 3, 4)}):
        save_file(tensors | other, path)
        with pytest.raises(InputError, match=rf"optimiser\.safetensors.*{next(iter(other))}"):
            train(problem_of(epochs=2), tmp_path / "run", resume=True)
    save_file(tensors, path)
    assert train(problem_of(epochs=2), tmp_path / "run", resume=True).history[-1]["epoch"] == 2


@pytest.mark.parametrize("name", ["model", "optimiser"])
def test_tensors_that_a_checkpoint_does_not_hold(half_a_run, tmp_path, name):
    shutil.copytree(half_a_run, tmp_path / "run")
    (path,) = (tmp_path / "run").glob(f"checkpoints/*/{name}.safetensors")
    for said in TENSORS.values():
        path.write_bytes(safetensors_file("embedding", arrays(), said))
        with pytest.raises(InputError, match=rf"{name}\.safetensors.*deserializing header"):
            train(problem_of(epochs=2), tmp_path / "run", resume=True)


def test_validation_picks_the_best_epoch_and_leaves_the_run_as_it_was(tmp_path):
    seen = []

    def scores(layers, labels, fine):
        seen.append((layers["projector"].shape, len(labels), list(fine)))
        return {"projector/accuracy": [0.2, 0.5, 0.9, 0.7][len(seen) - 1]}

    result = train(problem_of(), tmp_path / "scored", scores=scores)
    plain = train(problem_of(), tmp_path / "plain")
    assert result.best["epoch"] == 2
    assert seen[0] == ((71, 16), 71, ["digit"])
    assert read_run(tmp_path / "scored")[1].before == {"projector/accuracy": 0.2}
    assert read_run(tmp_path / "plain")[1].before == {}
    # Measuring drew no random number and changed no buffer.
    assert [line["loss"] for line in result.history] == [line["loss"] for line in plain.history]
    best = read_checkpoint(tmp_path / "scored" / "checkpoints", "best")
    assert best.state.step == result.best["step"]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    def break_after_the_first_epoch(step):
        if step.done == problem.sampler.steps:
            with torch.no_grad():
                next(problem.model.parameters()).fill_(float("nan"))

    problem = problem_of(checkpoint={"every_steps": 2})
    with pytest.raises(InputError, match="finite"):
        train(problem, tmp_path / "run", progress=break_after_the_first_epoch)
    assert read_run(tmp_path / "run")[1].status == "failed"
    assert all(bool(tensor.isfinite().all()) for tensor in weights(tmp_path / "run").values())


def filled(folder):
    """Train until, in the second epoch, no file may hold more than 2000 bytes: a full disk."""

    def fill(step):
        if step.done == 8:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with pytest.raises(InputError, match="room and permission to write"):
        train(problem_of(), folder, progress=fill)


def test_a_full_disk_is_said_and_the_checkpoint_before_is_whole(tmp_path):
    assert exit_code(filled, tmp_path / "run") == 0
    assert read_checkpoint(tmp_path / "run" / "checkpoints").state.epoch == 1
    leftovers = [path.name for path in (tmp_path / "run" / "checkpoints").glob(".*")]
    assert leftovers == []


def test_embeddings_are_those_of_the_best_checkpoint(tmp_path):
    import pyarrow.parquet as pq

    problem = problem_of(epochs=1)
    train(problem, tmp_path / "run")
    fresh = problem_of(epochs=1)
    assert load_trained(tmp_path / "run", fresh).startswith("last")
    modes = [module.training for module in fresh.model.modules()]
    count = embed(fresh.model, fresh.data, fresh.augmenter, tmp_path / "e.parquet", views=2)
    assert [module.training for module in fresh.model.modules()] == modes
    table = pq.read_table(tmp_path / "e.parquet")
    assert count == len(table) == 3 * 700
    about = json.loads(table.schema.metadata[b"uncollapse"])
    assert about["layers"] == ["backbone", "projector"]
    assert about["fine"] == ["digit"]
    rows = table.slice(0, 4).to_pydict()
    assert rows["view"] == [0, 1, 2, 0]
    assert rows["instance"][0] == rows["instance"][2] != rows["instance"][3]
    assert {"id", "split", "label", "digit"} <= set(rows)
    embed(fresh.model, fresh.data, fresh.augmenter, tmp_path / "e.npz", splits=["test"])
    with np.load(tmp_path / "e.npz") as arrays:
        assert arrays["projector"].shape == (len(fresh.data.rows("test")), 16)
        assert set(arrays["split"]) == {"test"}


@pytest.mark.parametrize("ending", ["parquet", "npz"])
def test_instances_are_judged_as_they_are_and_views_by_name(tmp_path, ending):
    problem = problem_of()
    files = [tmp_path / f"{name}.{ending}" for name in ("plain", "views")]
    for file, views in zip(files, (0, 2), strict=True):
        embed(problem.model, problem.data, problem.augmenter, file, splits=["test"], views=views)

    def found(file, instance=None):
        own = Columns(embedding="projector", label="label", instance=instance)
        return measure_files([file], columns=own, permutations=0, probe=None)

    plain, several = (found(file) for file in files)
    assert several.within_class_variance == plain.within_class_variance
    assert several.view_variance.estimate is None
    of_views = found(files[1], instance="instance")
    assert of_views.view_variance.estimate > 0
    assert np.array_equal(*(embedded_files([file]).layers["projector"] for file in files))
    rows = problem.data.rows("test")
    alone = joined(embed_rows(problem.model, problem.data, rows, problem.augmenter, key=(0, 11)))
    expected = measure(alone["projector"], problem.data.labels[rows], permutations=0, probe=None)
    assert of_views.view_variance.estimate == pytest.approx(expected.view_variance.estimate)
