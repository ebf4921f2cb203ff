"""Memory follows the smaller of rows and second moments, class by class; states of either kind."""

import tracemalloc

import numpy as np
import pytest

from uncollapse.errors import InputError
from uncollapse.metrics import Accumulator, load_state, measure, save_state

CLASSES, ROWS, DIMENSION = 1500, 3, 200


@pytest.mark.parametrize("interval", ["exact", "blocks"])
def test_many_small_classes_take_no_more_than_their_rows(rng, interval):
    labels = np.repeat(np.arange(CLASSES), ROWS)
    rows = rng.standard_normal((len(labels), DIMENSION), dtype=np.float32)
    stored = 8 * len(labels) * (DIMENSION + 6)
    tracemalloc.start()
    stream = Accumulator(interval)
    for at in np.array_split(rng.permutation(len(labels)), 9):
        stream.update(rows[at], labels[at])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Second moments would take 500 MB, sums of 16 blocks per class five times the rows.
    assert peak < 3 * stored
    found = stream.measurement()
    once = measure(rows, labels, permutations=0, probe=None)
    assert found.share.estimate == pytest.approx(once.share.estimate, rel=1e-9)
    if interval == "exact":
        assert found.share.low == pytest.approx(once.share.low, rel=1e-9)


@pytest.mark.parametrize("interval", ["exact", "blocks"])
def test_classes_of_both_kinds_are_saved_merged_and_read_as_before(rng, tmp_path, interval):
    labels = np.repeat([0, 1, 2], (400, 5, 100))
    rows = np.eye(3, 12)[labels] + 0.3 * rng.standard_normal((505, 12))
    parts = [Accumulator(interval) for _ in range(3)]
    for part, at in zip(parts, np.array_split(rng.permutation(505), 3), strict=True):
        part.update(rows[at], labels[at])
    save_state(parts[1], tmp_path / "b.npz")
    whole = parts[0]
    whole.merge(load_state(tmp_path / "b.npz"))
    whole.merge(parts[2])
    found, once = whole.measurement(), measure(rows, labels, permutations=0)
    for name in ("within_class_variance", "between_class_variance", "share"):
        assert found[name].estimate == pytest.approx(once[name].estimate, rel=1e-9)
        if interval == "exact":
            assert found[name].high == pytest.approx(once[name].high, rel=1e-9)
    # A file of an earlier build has a matrix, or a place, for every class and block.
    many = Accumulator(interval)
    many.update(rows[labels != 1], labels[labels != 1])
    save_state(many, tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as stored:
        arrays = dict(stored)
    for name in ("scattered", "kept"):
        arrays.pop(name, None)
    if "place" in arrays:
        place = arrays.pop("place")
        assert (place >= 0).all()
        arrays |= {name: arrays[name][place] for name in ("sums", "extras")}
    np.savez(tmp_path / "old.npz", **arrays)
    old, new = (load_state(tmp_path / f"{name}.npz").measurement() for name in ("old", "new"))
    assert old == new


def test_a_state_whose_arrays_do_not_fit_its_rows_is_refused(rng, tmp_path):
    state = Accumulator()
    state.update(rng.standard_normal((40, 4)), np.arange(40) % 2)
    save_state(state, tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as stored:
        arrays = dict(stored)
    for change in (
        {"totals": arrays["totals"] * 1e300},
        {"totals": arrays["totals"][:, :-1]},
        {"units": arrays["units"] + 100},
        {"units": -arrays["units"]},
        {"scattered": arrays["scattered"] + 2},
    ):
        np.savez(tmp_path / "t.npz", **arrays | change)
        with pytest.raises(InputError, match=r"t\.npz, which is not one or is cut short"):
            load_state(tmp_path / "t.npz").measurement()
