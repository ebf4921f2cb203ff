"""Runs that keep a reference: which there are, what is refused, and that they go on exactly."""

import io
import json
import os
import socket

import numpy as np
import pytest
import torch
from runs import BLOCK, main, problem_of
from safetensors.torch import save_file
from test_run import losses

from declared import npy_file
from processes import run_in_processes
from uncollapse.errors import InputError
from uncollapse.losses import retention_loss
from uncollapse.metrics import scores
from uncollapse.records import SettingChange, changed_config
from uncollapse.training import embed, embed_rows, joined, load_trained, parse_config, train
from uncollapse.training._checkpoint import read_checkpoint

LOSS = {"alpha": 0.2, "temperature": 0.1, "keep": 1.0}
DATA = BLOCK["data"]


def keeping(reference, loss=(), **changes):
    return problem_of(loss={**LOSS, "reference": reference, **dict(loss)}, **changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": LOSS}, "keep > 0 needs loss.reference, one of input, stored"),
        ({"loss": {**LOSS, "reference": "pixels"}}, "loss.reference"),
        ({"loss": {**LOSS, "reference": "base"}}, "an untrained encoder has nothing worth keeping"),
        ({"loss": {**LOSS, "reference": "stored"}}, "data.reference"),
        ({"loss": {**LOSS, "reference": "input", "base": "a.pt"}}, "belongs to reference: base"),
        ({"loss": {**LOSS, "keep": -1, "reference": "input"}}, "loss.keep"),
        (
            {"loss": {**LOSS, "reference": "backbone"}, "head": {"layers": 0}},
            "the backbone is the embedding itself",
        ),
        ({"loss": {**LOSS, "alpha": 1, "reference": "self-supervised"}}, "because alpha is 1"),
        (
            {
                "loss": {**LOSS, "reference": "self-supervised"},
                "encoder": {**BLOCK["encoder"], "frozen": True},
            },
            "the backbone is frozen",
        ),
        (
            {
                "loss": {**LOSS, "reference": "input"},
                "batch": {"sampler": "balanced", "per_class": 3},
            },
            "raise batch.per_class",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(change, message):
    with pytest.raises(InputError) as error:
        parse_config({**BLOCK, **change})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_without_keep_a_run_is_what_it_was_and_the_reference_is_not_read(tmp_path):
    plain = train(problem_of(epochs=1), tmp_path / "plain")
    loss = {**LOSS, "keep": 0, "reference": "base"}
    unkept = train(problem_of(epochs=1, loss=loss), tmp_path / "unkept")
    assert unkept.history[0].numbers == plain.history[0].numbers
    assert "keep" not in plain.history[0].numbers
    assert json.loads((tmp_path / "unkept/run.json").read_text())["keep"] is None


def test_the_input_is_kept_and_told(tmp_path):
    problem = keeping("input", {"keep": 3.0}, epochs=1)
    line = train(problem, tmp_path / "run", scores=scores).history[0]
    assert line["keep"] == pytest.approx(3 * (1 - line["retention"]))
    alone = line["supervised"] * 0.8 + line["self_supervised"] * 0.2
    assert line["loss"] == pytest.approx(alone + line["keep"], rel=1e-5)
    kept = json.loads((tmp_path / "run/run.json").read_text())["keep"]
    assert (kept["weight"], kept["reference"], kept["dimension"]) == (3, "input", 64)
    # The validation number is that of the rows as they are.
    rows = problem.validation
    layer = joined(embed_rows(problem.model, problem.data, rows, problem.augmenter))["projector"]
    plain = problem.augmenter.plain(problem.data.inputs.read(rows)).flatten(1)
    expected = retention_loss(
        torch.from_numpy(layer), plain, torch.from_numpy(problem.data.labels[rows])
    )
    assert line["projector/retention"] == pytest.approx(1 - float(expected), abs=1e-6)


@pytest.mark.parametrize("ending", ["parquet", "npz"])
def test_a_stored_reference_is_found_by_its_ids(tmp_path, ending):
    start = problem_of()
    path = tmp_path / f"stored.{ending}"
    embed(start.model, start.data, start.augmenter, path)
    block = {"path": str(path), "column": "backbone", "id": "id"}
    stored = keeping("stored", epochs=1, data={**DATA, "reference": block})
    rows = np.arange(len(start.data.ids))
    expected = joined(embed_rows(start.model, start.data, rows, start.augmenter))["backbone"][:, 0]
    np.testing.assert_allclose(stored.data.beside, expected, atol=1e-6)
    assert train(stored, tmp_path / "run").history[0]["retention"] > 0
    # A base with weights of its own gives the same reference.
    weights = tmp_path / "weights.safetensors"
    save_file(start.model.backbone.state_dict(), weights)
    base = keeping("base", {"base": str(weights)}, epochs=1)
    first = train(base, tmp_path / "base").history[0]
    again = train(keeping("stored", epochs=1, data=stored.config.data.model_dump()), tmp_path / "b")
    assert first["loss"] == pytest.approx(again.history[0]["loss"], rel=1e-6)


def test_a_wide_reference_is_kept_on_few_columns_and_measured_whole(tmp_path):
    data = problem_of().data
    read = data.inputs.read(np.arange(len(data.ids)))
    pixels = np.asarray(read).reshape(len(data.ids), -1) / 16
    wide = np.tanh(pixels @ np.random.default_rng(0).standard_normal((64, 300)))
    np.savez(tmp_path / "wide.npz", z=np.asarray(wide, dtype=np.float32), id=data.ids)
    block = {"path": str(tmp_path / "wide.npz"), "column": "z", "id": "id"}
    problem = keeping("stored", epochs=1, data={**DATA, "reference": block})
    line = train(problem, tmp_path / "run", scores=scores).history[0]
    kept = json.loads((tmp_path / "run/run.json").read_text())["keep"]
    assert kept["dimension"] == 300
    assert kept["columns"] < 64
    assert kept["agreement"] >= 0.99
    rows = problem.validation
    layer = joined(embed_rows(problem.model, problem.data, rows, problem.augmenter))["projector"]
    whole = retention_loss(
        torch.from_numpy(layer),
        torch.from_numpy(problem.data.beside[rows]),
        torch.from_numpy(problem.data.labels[rows]),
    )
    assert line["projector/retention"] == pytest.approx(1 - float(whole), abs=1e-6)


def test_a_stored_reference_that_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "stored.npz"
    numbers = np.random.default_rng(0).standard_normal((700, 4))

    def found(**arrays):
        np.savez(path, **arrays)
        names = {"id": "id"} if "id" in arrays else {}
        block = {"path": str(path), "column": "z", **names}
        try:
            train(keeping("stored", data={**DATA, "reference": block}), tmp_path / "run")
        except InputError as error:
            return str(error)

    ids = problem_of().data.ids
    assert "as many rows" in found(z=numbers)
    assert "none of them" in found(z=numbers, id=np.arange(700) + 10_000)
    for short in (0, 699):
        said = found(z=numbers, id=np.arange(short))
        assert f"for each of the 700 rows of {path}; found {short};" in said
    assert "every id" in found(z=numbers, id=np.zeros(700, int))
    # Ids of the digits' rows are numbers: all but the first.
    assert "none of 1 rows" in found(z=numbers[1:], id=ids[1:])
    assert not (tmp_path / "run/config.yaml").exists()


def test_a_pilot_s_changes_carry_it_along():
    block = keeping("input").config.plain()
    changed = changed_config(block, [SettingChange("loss.alpha", 0.2, 0.5)])
    loss = parse_config(changed).loss
    assert (loss.alpha, loss.keep, loss.reference) == (0.5, 1.0, "input")


class KilledError(Exception):
    pass


def killed_at(number):
    calls = iter(range(1, 1000))

    def progress(step):
        if next(calls) == number:
            raise KilledError

    return progress


@pytest.mark.parametrize(
    ("reference", "kills"), [("input", [5]), ("backbone", [5]), ("self-supervised", [5, 12])]
)
def test_a_killed_and_resumed_run_has_the_same_weights_bit_for_bit(tmp_path, reference, kills):
    changes = {"checkpoint": {"every_steps": 3}, "epochs": 2}
    train(keeping(reference, **changes), tmp_path / "whole", scores=scores)
    for number, kill in enumerate(kills):
        with pytest.raises(KilledError):
            train(
                keeping(reference, **changes),
                tmp_path / "killed",
                resume=number > 0,
                scores=scores,
                progress=killed_at(kill),
            )
    train(keeping(reference, **changes), tmp_path / "killed", resume=True, scores=scores)
    whole, resumed = (
        read_checkpoint(tmp_path / name / "checkpoints").model for name in ("whole", "killed")
    )
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_self_supervised_run_is_made_first_once_and_is_a_run(tmp_path):
    problem = keeping("self-supervised", epochs=1)
    train(problem, tmp_path / "run")
    inside = tmp_path / "run" / "self-supervised"
    assert json.loads((inside / "run.json").read_text())["status"] == "finished"
    alone = problem_of(loss={"alpha": 1, "temperature": 0.1}, epochs=1)
    train(alone, tmp_path / "alone")
    load_trained(tmp_path / "alone", alone, "last")
    rows = np.concatenate([problem.rows, problem.validation])
    expected = joined(embed_rows(alone.model, alone.data, rows, alone.augmenter))["backbone"]
    np.testing.assert_array_equal(np.load(tmp_path / "run/reference.npy"), expected[:, 0])


def test_a_damaged_reference_of_a_run_is_refused(tmp_path):
    run = tmp_path / "run"
    train(keeping("self-supervised", epochs=2), run, until=1)
    whole = (run / "reference.npy").read_bytes()
    buffer = io.BytesIO()
    np.savez(buffer, reference=np.zeros((2, 2), np.float32))
    for content in (
        npy_file("<f4", "(1000000000000, 5)", bytes(1200)),
        npy_file("<f4", "(60, (5)"),
        npy_file("|O", "(60, 5)"),
        npy_file("<f4", "()", bytes(4)),
        whole[:-1],
        buffer.getvalue(),
        b"",
    ):
        (run / "reference.npy").write_bytes(content)
        with pytest.raises(InputError, match=r"reference\.npy.*take .* out"):
            train(keeping("self-supervised", epochs=2), run, resume=True)


def test_another_stored_file_is_no_continuation(tmp_path):
    path = tmp_path / "stored.npy"

    def problem():
        return keeping("stored", epochs=2, data={"source": "digits", "map": "parity", **block})

    block = {"reference": {"path": str(path)}}
    numbers = np.random.default_rng(0).standard_normal((1797, 4))
    np.save(path, numbers)
    train(problem(), tmp_path / "run", until=1)
    np.save(path, numbers[::-1])
    with pytest.raises(InputError, match="another one, by its fingerprint"):
        train(problem(), tmp_path / "run", resume=True)
    np.save(path, numbers)
    assert train(problem(), tmp_path / "run", resume=True).history[-1].epoch == 2


def as_launched(rank, port, *arguments):
    """`main` of `runs`, as torchrun would start it."""
    launched = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    launched |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "none"}
    os.environ.update({name: str(value) for name, value in launched.items()})
    main(*arguments)


@pytest.mark.slow
def test_two_processes_are_one_with_the_same_global_batch(tmp_path):
    reference = "self-supervised"  # Two runs in one group, and a file that both read.
    main(tmp_path / "one", f"keep:{reference}")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    run_in_processes(as_launched, (port, tmp_path / "two", f"keep:{reference}"), 2)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-4)
