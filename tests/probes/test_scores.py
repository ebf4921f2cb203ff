"""The quick validation measures against the full ones, and against known truth."""

import time

import numpy as np
import pytest
from known import coarse_to_fine

from uncollapse.errors import InputError
from uncollapse.metrics import measure, scores


def test_they_are_what_measure_says_and_tell_structure(rng):
    data = coarse_to_fine(rng, True)
    label, fine, rows = data.targets["label"], data.targets["fine"], data.layers["z"]
    found = scores({"z": rows}, label, {"fine": fine})
    whole = measure(rows, label, permutations=0)
    assert found["z/instance_variance"] == pytest.approx(whole.within_class_variance.estimate)
    assert found["z/share"] == pytest.approx(whole.share.estimate)
    assert found["z/accuracy"] > 0.95
    assert found["z/within_class"] == found["z/within_class/fine"] > 0.9
    blind = coarse_to_fine(rng, False)
    found = scores(
        {"z": blind.layers["z"]}, blind.targets["label"], {"fine": blind.targets["fine"]}
    )
    assert abs(found["z/within_class"]) < 0.1
    assert scores({"z": rng.standard_normal((900, 3))}, label)["z/accuracy"] < 0.6


def test_each_row_is_left_out_even_among_twins():
    # Twins of the other class are all that is near: with itself a row would be read right.
    rows = np.repeat(np.eye(30), 2, axis=0)
    assert scores({"z": rows}, np.tile([0, 1], 30))["z/accuracy"] < 0.1


def test_collapse_unlabelled_rows_lone_classes_and_missing_finer_labels(rng):
    rows = np.eye(3)[np.arange(60) % 3]
    labels = np.arange(60) % 3
    labels[:5], labels[5] = -1, 7
    found = scores({"z": rows}, labels, {"fine": np.zeros(60)})
    assert found["z/instance_variance"] == pytest.approx(0, abs=1e-12)
    assert found["z/accuracy"] == 1
    assert "z/within_class" not in found
    assert scores({"z": np.ones((60, 3))}, np.arange(60) % 3)["z/share"] == 0
    with pytest.raises(InputError, match="NaN"):
        scores({"z": rows * np.nan}, labels)


def test_seed_and_time(rng):
    data = coarse_to_fine(rng, False, n=3000, d=126)
    label, fine = data.targets["label"], {"fine": data.targets["fine"]}
    layers = {"backbone": data.layers["z"], "projector": data.layers["z"] + 0.1}
    start = time.process_time()
    found = scores(layers, label, fine)
    assert time.process_time() - start < 5  # .7 s alone; a shared machine counts more
    assert found == scores(layers, label, fine)
    assert found != scores(layers, label, fine, seed=1, most_rows=1000)
