"""Bad input: one clear error each."""

import pytest

from uncollapse.errors import InputError
from uncollapse.records import BalancedBatch, RandomBatch
from uncollapse.theory import Setting

GOOD = {"class_counts": [4, 3], "alpha": 0.5, "temperature": 0.1}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"alpha": 1.5}, r"alpha in \[0, 1\]; found alpha = 1.5"),
        ({"alpha": -0.1}, r"alpha in \[0, 1\]"),
        ({"alpha": float("nan")}, r"alpha in \[0, 1\]"),
        ({"temperature": 0}, "temperature from 0.001 to 1000"),
        ({"temperature": -1}, "temperature from 0.001"),
        ({"temperature": float("inf")}, "temperature from 0.001"),
        ({"class_counts": [4]}, "at least two classes; found 1"),
        ({"class_counts": []}, "at least two classes"),
        ({"class_counts": [4, 0]}, "positive whole numbers.*found a class of 0"),
        ({"class_counts": [4, 2.5]}, "positive whole numbers.*2.5"),
        ({"class_counts": [4, True]}, "positive whole numbers"),
        ({"class_counts": [1, 1, 1]}, "a class with at least two instances"),
        ({"class_counts": None}, "the class sizes"),
        ({"class_counts": None, "classes": 1, "per_class": 5}, "at least two classes"),
        ({"classes": 2, "per_class": 5}, "either class_counts or classes"),
        ({"views": 0}, "views as a whole number"),
        ({"views": 1}, "at least two views"),
        ({"self_pairs": "both"}, "self_pairs as one of include, exclude"),
        ({"reduction": "sum"}, "reduction as one of pairs, anchors"),
        ({"anchors_without_positives": "skip"}, "drop, zero, error"),
        ({"dimension": 0}, "embedding dimension"),
        ({"batch": RandomBatch(8)}, "a batch of 2 to 7 instances.*found a batch of 8"),
        ({"batch": RandomBatch(1)}, "a batch of 2 to 7"),
        ({"batch": BalancedBatch(4)}, "from 1 to 3 instances of a class"),
        ({"batch": BalancedBatch(2, 3)}, "from 2 to 2 classes in a batch"),
        ({"batch": BalancedBatch(1)}, "at least two instances of a class in a batch"),
        ({"batch": 5}, "FullBatch"),
        (
            {"batch": RandomBatch(4), "anchors_without_positives": "error"},
            "batches in which every instance has another one of its class",
        ),
        (
            {"class_counts": [4, 1], "anchors_without_positives": "error"},
            "batches in which every instance has another one",
        ),
    ],
)
def test_bad_settings_are_refused(changes, match):
    with pytest.raises(InputError, match=match):
        Setting(**{**GOOD, **changes})


def test_a_batch_that_gives_no_gradient_is_refused():
    with pytest.raises(InputError, match="at least three embeddings"):
        Setting(classes=2, per_class=3, views=1, alpha=0, temperature=0.1, batch=RandomBatch(2))
