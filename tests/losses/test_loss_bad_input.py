"""Every unusable input is one error that names cause and remedy."""

import pytest
import torch

from uncollapse.errors import InputError
from uncollapse.losses import (
    SupCLLoss,
    class_conditional_info_nce_loss,
    nt_xent_loss,
    sincere_loss,
    supcl_loss,
    supcl_terms,
    supcon_loss,
)

VIEWS = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 0, 1, 1])


def replaced(row, value):
    views = VIEWS.clone()
    views[row] = value
    return views


CASES = {
    "an array": ({"embeddings": VIEWS.numpy()}, "give a torch tensor"),
    "integers": ({"embeddings": VIEWS.long()}, r"embeddings\.float\(\)"),
    "one axis": ({"embeddings": VIEWS[0, 0]}, r"found shape \(3,\)"),
    "no samples": ({"embeddings": VIEWS[:0], "labels": LABELS[:0]}, "empty tensor"),
    "no dimensions": ({"embeddings": VIEWS[..., :0]}, "empty tensor"),
    "nan": ({"embeddings": replaced(1, torch.nan)}, "found nan in row 2"),
    "infinity": ({"embeddings": replaced(3, torch.inf)}, "found infinity in row 6"),
    "overflow": ({"embeddings": replaced(3, 3e38)}, "overflows in row 6"),
    "zero vector": ({"embeddings": replaced(2, 0.0)}, "found a zero vector in row 4"),
    "nearly zero vector": ({"embeddings": replaced(2, 1e-25)}, "a nearly zero vector in row 4"),
    "logits that overflow": (
        {"embeddings": replaced(2, 1e18), "normalize": False},
        "do not overflow",
    ),
    "labels of another length": ({"labels": LABELS[:3]}, r"shape \(4,\).*found shape \(3,\)"),
    "label -2": ({"labels": LABELS - 2}, "found label -2"),
    "instances as floats": ({"instances": LABELS.float()}, r"instances\.long\(\)"),
    "an instance of two labels": (
        {"instances": torch.tensor([5, 6, 6, 7])},
        "instance 6 with labels 0 and 1",
    ),
    "alpha above 1": ({"alpha": 1.5}, r"alpha a number in \[0, 1\]; found alpha = 1.5"),
    "alpha nan": ({"alpha": float("nan")}, "alpha = nan"),
    "alpha a string": ({"alpha": "0.5"}, "alpha = '0.5'"),
    "alpha a flag": ({"alpha": True}, "alpha = True"),
    "normalize a string": ({"normalize": "no"}, "normalize True or False; found normalize = 'no'"),
    "gather None": ({"gather": None}, "gather True or False; found gather = None"),
    "a sparse tensor": ({"embeddings": VIEWS.to_sparse()}, r"found layout torch\.sparse_coo"),
    "temperature 0": ({"temperature": 0.0}, "temperature = 0"),
    "alpha to be learned, out of range": (
        {"alpha": torch.tensor(1.1, requires_grad=True)},
        r"alpha a number in \[0, 1\]; found alpha = 1.1",
    ),
    "alpha to be learned, one term": (
        {"labels": None, "alpha": torch.tensor(1.0, requires_grad=True)},
        "found none of the supervised term",
    ),
    "several temperatures": (
        {"temperature": torch.tensor([0.1, 0.2])},
        r"temperature = a tensor of shape \(2,\); give one number",
    ),
    "unknown convention": ({"self_pairs": "both"}, "one of 'include', 'exclude'"),
    "unknown policy": ({"anchors_without_positives": "skip"}, "'drop', 'zero', 'error'"),
    "tile size 0": ({"tile_size": 0}, "tile_size = 0"),
    "unknown backend": ({"backend": "cuda"}, "backend one of 'auto', 'dense'"),
    "unknown time of checks": ({"checks": "later"}, "'now', 'deferred', 'off'"),
    "tile size a flag": ({"tile_size": True}, "tile_size = True"),
    "no labels": ({"labels": None}, "no positive pair of the supervised term.*alpha=1"),
    "all different": ({"labels": torch.arange(4)}, "no positive pair of the supervised term"),
    "one view": ({"embeddings": VIEWS[:, :1]}, "no positive pair of the self-supervised .*alpha=0"),
    "one class": ({"labels": LABELS * 0}, "one class only.*one_class='allow'"),
    "one instance": ({"embeddings": VIEWS[:1], "labels": LABELS[:1], "alpha": 1}, "two instances"),
    "anchors that lack positives": (
        {"labels": torch.tensor([0, 0, 1, 2]), "anchors_without_positives": "error"},
        "4 of 8 anchors",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_unusable_input_is_an_error_with_cause_and_remedy(name):
    changes, message = CASES[name]
    arguments = {"embeddings": VIEWS, "labels": LABELS, "alpha": 0.5, "temperature": 0.1}
    supcl_loss(**arguments)  # Usable without the change.
    with pytest.raises(InputError, match=message):
        supcl_loss(**{**arguments, **changes})


@pytest.mark.parametrize("name", CASES)
def test_the_dense_backend_refuses_the_same_in_the_same_words(name):
    changes, message = CASES[name]
    arguments = {"embeddings": VIEWS, "labels": LABELS, "alpha": 0.5, "temperature": 0.1}
    with pytest.raises(InputError, match=message):
        supcl_loss(**{**arguments, "backend": "dense", **changes})


def test_presets_refuse_what_has_no_meaning_for_them():
    one_class = LABELS * 0
    for loss_of in (supcon_loss, sincere_loss):
        with pytest.raises(InputError, match="one class only"):
            loss_of(VIEWS, one_class, temperature=0.1)
        with pytest.raises(InputError, match="no positive pair"):
            loss_of(VIEWS[:, :1], torch.arange(4), temperature=0.1)
    with pytest.raises(InputError, match="no positive pair"):
        nt_xent_loss(VIEWS[:, 0], temperature=0.1)
    with pytest.raises(InputError, match="no class with two instances"):
        class_conditional_info_nce_loss(VIEWS, torch.arange(4), temperature=0.1)
    with pytest.raises(InputError, match="no positive pair of the class-conditional term"):
        class_conditional_info_nce_loss(VIEWS[:, 0], LABELS, temperature=0.1)
    with pytest.raises(InputError, match="alpha"):
        SupCLLoss(alpha=2.0, temperature=0.1)
    with pytest.raises(InputError, match="reduction"):
        SupCLLoss(alpha=0.5, temperature=0.1, reduction="mean")


def test_what_an_option_allows_is_no_error():
    terms = supcl_terms(VIEWS, LABELS * 0, alpha=0.5, temperature=0.1, one_class="allow")
    assert torch.isfinite(terms.loss)
    # One class beside unlabelled samples has something to be told apart from.
    supcl_loss(VIEWS, torch.tensor([0, 0, -1, -1]), alpha=0.5, temperature=0.1)
    # Alpha = 1 needs no class, and vectors as they are may be zero.
    supcl_loss(VIEWS, LABELS * 0, alpha=1, temperature=0.1)
    zero = supcl_loss(replaced(2, 0.0), LABELS, alpha=0.5, temperature=0.1, normalize=False)
    assert torch.isfinite(zero)


def test_identical_embeddings_give_the_value_of_a_uniform_softmax_and_no_gradient():
    views = torch.ones(4, 2, 3, requires_grad=True)
    loss = supcl_loss(views, LABELS, alpha=0.5, temperature=0.01)
    loss.backward()
    assert loss.item() == pytest.approx(torch.tensor(7.0).log().item(), rel=1e-6)
    assert views.grad.abs().max() < 1e-5
