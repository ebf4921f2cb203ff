"""The null of the within-class probe, from inside."""

import numpy as np

from uncollapse.probes import WithinClassOptions, probed_classes
from uncollapse.probes.within_class import permuted
from uncollapse.samples import ByRole, sample_of


def test_the_null_keeps_units_of_several_labels_together(rng):
    # Permuted row by row, groups that are alike inside gave p <= .05 in one of five runs of chance.
    groups, labels = np.arange(300) // 5, np.repeat([0, 1], 150)
    noise = rng.integers(0, 2, 300)
    finer = np.where(rng.random(300) < 0.85, rng.integers(0, 2, 60)[groups], noise)
    sample = sample_of(
        rng.standard_normal((300, 4)), ByRole(labels=labels, groups=groups, fine_labels=finer)
    )
    for probed in probed_classes(sample, sample.fine_labels, WithinClassOptions(), rng):
        moved = permuted(probed, rng)
        before, after = ([tuple(m.fine[m.units == u]) for u in range(30)] for m in (probed, moved))
        assert before != after
        assert sorted(before) == sorted(after)
        assert moved.vectors is probed.vectors
