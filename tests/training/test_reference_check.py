"""What is known of a reference before training: whether it is one of these rows at all."""

import json

import numpy as np
import pytest
import yaml
from sklearn.datasets import load_digits

from command_line import call
from uncollapse.errors import InputError
from uncollapse.pilot import PilotOptions, pilot
from uncollapse.training import build_problem, check_reference, parse_config

BLOCK = {
    "data": {"source": "digits", "map": "parity"},
    "encoder": {"kind": "convnet", "widths": [8]},
    "loss": {"alpha": 0.2, "temperature": 0.1, "keep": 1, "reference": "stored"},
    "epochs": 1,
}


def stored(tmp_path, rows, **changes):
    """A setting whose rows have these vectors beside them."""
    path = tmp_path / "stored.npz"
    np.savez(path, z=rows.astype(np.float32))
    data = BLOCK["data"] | {"reference": {"path": str(path)}}
    return parse_config(BLOCK | {"data": data} | changes)


def shuffled_inside(labels, rng):
    places = np.arange(len(labels))
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        places[own] = rng.permutation(own)
    return places


def test_what_belongs_to_the_rows_is_distinguished_from_what_does_not(tmp_path):
    pixels, digit = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    map_of = rng.standard_normal((64, 3))
    related = [pixels, np.abs(pixels @ map_of), pixels[:, :8] + 1 + rng.standard_normal((1797, 8))]
    for rows in related:
        found = check_reference(build_problem(stored(tmp_path, rows)))
        assert (found.reference, found.rows) == ("stored", 180)
        assert found.retention > found.shuffled
        assert not found.unrelated
    # The right class and the wrong row, and noise: no more than once in 40 times by chance.
    unrelated = [pixels[shuffled_inside(digit % 2, rng)] for _ in range(6)]
    unrelated += [rng.standard_normal((1797, 5)) for _ in range(6)]
    found = [check_reference(build_problem(stored(tmp_path, rows))) for rows in unrelated]
    assert sum(each.unrelated for each in found) >= 11
    assert max(each.retention for each in found) < 0.05


def test_where_there_is_nothing_to_ask(tmp_path):
    pixels, _ = load_digits(return_X_y=True)
    problem = build_problem(stored(tmp_path, pixels))
    for reference in ("input", "self-supervised", "backbone"):
        assert check_reference(problem, reference) is None
    assert check_reference(problem, "base").reference == "base"
    pixels[:] = 0
    with pytest.raises(InputError, match="a finite reference other than 0"):
        check_reference(build_problem(stored(tmp_path, pixels)))


def test_train_and_the_pilot_say_so_before_anything_is_trained(tmp_path):
    noise = np.random.default_rng(0).standard_normal((1797, 5))
    config = stored(tmp_path, noise)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config.plain()))
    said = call("train", str(tmp_path / "run.yaml"), "-o", str(tmp_path / "run"), "--json")
    assert "the reference stored has no more in common with the inputs" in said.stderr
    check = json.loads(said.stdout)["reference_check"]
    assert check["retention"] <= check["shuffled"]
    noted = json.loads((tmp_path / "run" / "run.json").read_text())
    assert noted["reference_check"] == check
    plan = []

    def stop(jobs, workers, ended):
        raise KeyboardInterrupt

    loss = {"alpha": 0.2, "temperature": 0.1}
    with pytest.raises(KeyboardInterrupt):
        pilot(
            stored(tmp_path, noise, loss=loss),
            tmp_path / "pilot",
            options=PilotOptions(dials=("keep", "alpha"), seeds=2),
            runner=stop,
            progress=lambda step: plan.append(step.text),
        )
    assert "alpha-" in plan[0]
    assert "keep-" not in plan[0]


def written(tmp_path, rows, **changes):
    """A file of a setting with these rows and another loss."""
    config = stored(tmp_path, rows, loss=BLOCK["loss"] | changes)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config.plain()))
    return path


def test_a_reference_that_collapsed_is_told_and_not_tried(tmp_path):
    pixels, digit = load_digits(return_X_y=True)
    centres = np.random.default_rng(0).standard_normal((2, 64))[digit % 2]
    tight = 5 * centres + (pixels - pixels.mean(axis=0)) / np.linalg.norm(pixels.std(axis=0))
    problem = build_problem(stored(tmp_path, tight))
    found = check_reference(problem)
    assert not found.unrelated
    assert found.collapsed
    assert found.share < 0.5 < found.inputs_share

    good = check_reference(build_problem(stored(tmp_path, pixels)))
    assert not good.collapsed
    path = written(tmp_path, tight, alpha=0.0)
    said = call("train", str(path), "-o", str(tmp_path / "run"))
    assert "it has itself collapsed, and keeping it would hold that" in said.stderr
    assert "without what is kept, the optimum of this loss is collapsed" in said.stderr
    assert "of the structure of stored" in said.stdout
    assert good.share == pytest.approx(good.inputs_share, abs=0.01)
