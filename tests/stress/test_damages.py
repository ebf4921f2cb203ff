"""Damages against closed forms and loops: counts, labels, rows, corruptions."""

import numpy as np
import pytest
import torch

from uncollapse import InputError, StressOptions, load_data
from uncollapse.data import data_config
from uncollapse.records import Damage
from uncollapse.stress import damages
from uncollapse.stress.corruptions import STRENGTHS, corrupted
from uncollapse.stress.data import damaged, values_of

NAMES = ("noise", "blur", "contrast", "brightness", "pixelate", "jpeg")


@pytest.fixture(scope="module")
def digits():
    return load_data(data_config({"source": "digits", "slices": ["digit"]}))


@pytest.mark.parametrize("ratio", [2, 10, 50.5])
def test_exponential_counts_have_the_ratio_and_one_factor(ratio):
    counts = damages.imbalanced_counts([100_000] * 6, ratio)
    assert counts[0] / counts[-1] == pytest.approx(ratio, rel=1e-3)
    factors = counts[1:] / counts[:-1]
    assert factors == pytest.approx(np.full(5, ratio ** (-1 / 5)), rel=1e-3)


def test_counts_of_classes_of_several_sizes_and_of_those_named():
    # The largest is 90: wanted 90, 28.5, 9 for the classes of 90, 60 and 5 rows.
    assert damages.imbalanced_counts([60, 5, 90], 10).tolist() == [28, 5, 90]
    assert damages.imbalanced_counts([60, 50, 90], 10, "step").tolist() == [60, 9, 90]
    assert damages.imbalanced_counts([60, 50, 90], 10, "step", rare=[2, 0]).tolist() == [5, 50, 5]
    assert damages.imbalanced_counts([60, 60, 60], 4, rare=[0]).tolist() == [15, 60, 30]


def test_a_heavier_imbalance_keeps_rows_of_the_lighter_one():
    labels = np.repeat([0, 1, -1], [40, 40, 5])
    light = damages.kept_places(labels, [40, 20], seed=3)
    heavy = damages.kept_places(labels, [40, 4], seed=3)
    assert set(heavy) < set(light)
    assert np.bincount(labels[heavy] + 1).tolist() == [5, 40, 4]
    assert not np.array_equal(light, damages.kept_places(labels, [40, 20], seed=4))


@pytest.mark.parametrize("rate", [0.05, 0.3, 2 / 3])
def test_symmetric_noise_has_its_rate_in_every_class_and_is_even(rate):
    labels = np.repeat(np.arange(3), 3000)
    given = damages.mislabelled(labels, damages.transitions(3, rate), seed=1)
    counts = np.zeros((3, 3))
    np.add.at(counts, (labels, given), 1)
    wanted = [[1 - rate if a == b else rate / 2 for b in range(3)] for a in range(3)]
    assert np.abs(counts / 3000 - wanted).max() <= 1 / 3000


def test_more_noise_mislabels_the_same_rows_and_more():
    labels = np.repeat(np.arange(4), 50)
    less, more = (
        damages.mislabelled(labels, damages.transitions(4, rate), seed=0) != labels
        for rate in (0.1, 0.4)
    )
    assert (more | ~less).all()
    assert (less.sum(), more.sum()) == (20, 80)


def test_noise_to_the_most_similar_class_and_by_a_matrix():
    similar = damages.most_similar(np.array([[0.0, 0], [10, 0], [11, 0]]))
    chances = damages.transitions(3, 0.25, similar)
    assert chances.tolist() == [[0.75, 0.25, 0], [0, 0.75, 0.25], [0, 0.25, 0.75]]
    labels = np.repeat(np.arange(3), 8)
    given = damages.mislabelled(labels, chances, seed=5)
    assert [np.bincount(given[labels == c], minlength=3).tolist() for c in range(3)] == [
        [6, 2, 0],
        [0, 6, 2],
        [0, 2, 6],
    ]


def test_near_duplicates_are_mislabelled_first_and_one_of_a_pair():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((60, 4)) * 10
    rows[1], rows[41] = rows[0] + 1e-3, rows[40] + 1e-3
    labels = np.repeat([0, 1, 2], 20)
    wrong = np.flatnonzero(damages.near_duplicates(rows, labels, 2 / 60, seed=0) != labels)
    assert len(wrong) == 2
    assert len({0, 1} & set(wrong)) == len({40, 41} & set(wrong)) == 1


@pytest.mark.parametrize("name", NAMES)
def test_corruptions_grow_with_their_strength(name):
    data = load_data(data_config({"source": "digits"}))
    raw = data.inputs.read(np.arange(100))
    changes = []
    for strength in STRENGTHS:
        out = corrupted(raw, name, strength, kind="image", scales=None)
        assert out.shape == raw.shape
        assert out.dtype == torch.uint8
        assert torch.equal(out, corrupted(raw, name, strength, kind="image", scales=None))
        changes.append(float((out.float() - raw.float()).abs().mean()))
    assert changes == sorted(changes)
    assert changes[-1] > 5
    if name == "brightness":
        out = corrupted(raw, name, 3, kind="image", scales=None).float()
        wanted = (raw.float() + 0.3 * 255).clamp(max=255)
        assert float((out - wanted).abs().max()) <= 0.5
    if name == "contrast":
        values = raw.double().numpy()
        mean = values.mean(axis=(-2, -1), keepdims=True)
        out = corrupted(raw, name, 2, kind="image", scales=None).double().numpy()
        assert np.abs(out - (mean + 0.3 * (values - mean))).max() <= 0.51


def test_noise_of_features_has_the_features_scale():
    from uncollapse.data import Scales

    scales = Scales(np.array([1.0, -2], np.float32), np.array([1.0, 10], np.float32))
    raw = torch.zeros(20_000, 2)
    out = corrupted(raw, "noise", 3, kind="vector", scales=scales)
    assert out.std(dim=0).numpy() == pytest.approx([0.4, 4.0], rel=0.03)
    one = corrupted(torch.tensor([[2.0, 8.0]]), "scale", 2, kind="vector", scales=scales)
    two = corrupted(torch.tensor([[3.0, 18.0]]), "scale", 2, kind="vector", scales=scales)
    # One factor a feature, around its mean.
    assert ((two - one) / (one - torch.tensor([[1.0, -2.0]]))).numpy() == pytest.approx(
        np.array([[1.0, 1.0]]), rel=1e-4
    )


def test_data_under_a_damage_are_a_described_part_of_the_clean(digits):
    options = StressOptions(imbalance=(5,), rare=("3",))
    found = damaged(digits, Damage("imbalance", "5"), options, seed=0)
    data, train = found.data, found.data.rows("train")
    counts = np.bincount(data.labels[train])
    assert counts.max() / counts.min() == pytest.approx(5, rel=0.03)
    assert np.argmin(counts) == 3
    assert data.description.rows["train"] == len(train)
    assert data.description.classes["train"]["3"] == counts[3]
    assert data.description.fingerprint != digits.description.fingerprint
    # Other rows are as they were, and every row is the one that it says.
    assert len(data.rows("test")) == len(digits.rows("test"))
    some = np.arange(0, len(data.labels), 97)
    assert torch.equal(data.inputs.read(some), digits.inputs.read(found.rows[some]))
    assert (data.ids[some] == digits.ids[found.rows[some]]).all()


def test_noise_is_in_training_labels_alone(digits):
    found = damaged(digits, Damage("label-noise", "0.3"), StressOptions(), seed=2)
    wrong = found.data.labels != digits.labels
    assert found.wrong == wrong.sum() == pytest.approx(0.3 * len(digits.rows("train")), abs=5)
    assert set(digits.split[wrong]) == {"train"}


def test_fewer_classes_and_a_shift_are_numbered_anew():
    parity = load_data(data_config({"source": "digits", "map": "parity"}))
    digits = load_data(data_config({"source": "digits"}))
    found = damaged(digits, Damage("classes", "3"), StressOptions(), seed=0)
    assert set(found.data.labels) == {0, 1, 2}
    assert set(digits.labels[found.test]) == {
        digits.label_names.index(n) for n in found.data.label_names
    }
    # Digits are of one parity each: trained on one of them there is one class.
    with pytest.raises(InputError, match="two classes or more"):
        damaged(parity, Damage("shift", "3", "digit"), StressOptions(shift="digit"), seed=0)


def test_what_cannot_be_is_refused(digits):
    def under(kind, dose, **options):
        return damaged(digits, Damage(kind, dose), StressOptions(**options), seed=0)

    with pytest.raises(InputError, match=r"two training rows or more.*found 1 in"):
        under("imbalance", "100")
    with pytest.raises(InputError, match=r"at most 1 - 1/m = 0\.9"):
        under("label-noise", "0.95")
    with pytest.raises(InputError, match="fewer classes than the 10"):
        under("classes", "10")
    with pytest.raises(InputError, match="did you mean digit"):
        values_of(digits, "digits")
    with pytest.raises(InputError, match="rare as one of"):
        under("imbalance", "5", rare=("11",))
    with pytest.raises(InputError, match="imbalance_form as one of"):
        StressOptions(imbalance_form="stepp")
