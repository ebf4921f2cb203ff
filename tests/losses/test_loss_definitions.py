"""Value and gradient of every loss equal the loops over its definition, to 1e-10."""

import itertools

import loss_definitions as definitions
import pytest
import torch

from uncollapse.errors import InputError
from uncollapse.losses import (
    class_conditional_info_nce_loss,
    l_spread_loss,
    nt_xent_loss,
    sincere_loss,
    ssem_cifar_loss,
    ssem_imagenet_loss,
    supcl_loss,
    supcl_terms,
    supcon_loss,
)

# (labels, instances): views of unequal number, a class of one instance, unlabelled samples, an
# order that is not sorted, and instance numbers that are not consecutive.
UNEVEN = (
    [2, 0, 0, 5, 2, 2, -1, 0, 5, -1, 2, -1, 9, 9, 0],
    [7, 1, 4, 3, 7, 8, 20, 1, 90, 20, 8, 21, 13, 13, 4],
)
BATCHES = {
    "one view": ([0, 1, 0, 2, 1, 0, 2], list(range(7))),
    "two views": ([0, 0, 1, 1, 0, 0, 2, 2, 1, 1], [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]),
    "three views": ([0] * 6 + [1] * 6, [i // 3 for i in range(12)]),
    "four views": ([0] * 4 + [1] * 8 + [3] * 4, [i // 4 for i in range(16)]),
    "uneven": UNEVEN,
}


def vectors(n, d=5, seed=0):
    z = torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return z.requires_grad_()


def same(ours, definition, n):
    """Compare value and gradient, each on its own copy of the same vectors."""
    x, y = vectors(n), vectors(n)
    value, expected = ours(x), definition(torch.nn.functional.normalize(y, dim=1))
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10)
    value.backward()
    expected.backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("self_pairs", ["include", "exclude"])
@pytest.mark.parametrize(
    ("reduction", "policy"), [("pairs", "drop"), ("anchors", "drop"), ("anchors", "zero")]
)
def test_supcl_equals_its_definition(name, self_pairs, reduction, policy):
    labels, instances = BATCHES[name]
    alphas = [0.0] if name == "one view" and self_pairs == "exclude" else [0.0, 0.3, 1.0]
    for alpha, temperature, tile in itertools.product(alphas, [0.1, 0.005], [None, 4]):
        same(
            lambda x, a=alpha, t=temperature, k=tile: supcl_loss(
                x,
                torch.tensor(labels),
                torch.tensor(instances),
                alpha=a,
                temperature=t,
                self_pairs=self_pairs,
                reduction=reduction,
                anchors_without_positives=policy,
                tile_size=k,
            ),
            lambda z, a=alpha, t=temperature: definitions.supcl(
                z, labels, instances, a, t, self_pairs, reduction, policy
            ),
            len(labels),
        )


PRESETS = {
    "supcon": (supcon_loss, definitions.supcon),
    "sincere": (sincere_loss, definitions.sincere),
    "class-conditional": (class_conditional_info_nce_loss, definitions.class_conditional_info_nce),
    "l-spread": (
        lambda *a, **k: l_spread_loss(*a, alpha=0.4, **k),
        lambda z, y, i, temperature: definitions.l_spread(z, y, i, 0.4, temperature),
    ),
    "ssem-cifar": (
        lambda *a, **k: ssem_cifar_loss(*a, alpha=0.4, **k),
        lambda z, y, i, t: definitions.supcl(z, y, i, 0.4, t, "include", "pairs", "drop"),
    ),
    "ssem-imagenet": (
        lambda *a, **k: ssem_imagenet_loss(*a, alpha=0.4, **k),
        lambda z, y, i, t: definitions.supcl(z, y, i, 0.4, t, "exclude", "anchors", "zero"),
    ),
}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", ["two views", "three views", "uneven"])
def test_presets_equal_their_published_definitions(preset, name):
    ours, definition = PRESETS[preset]
    labels, instances = BATCHES[name]
    ways = [{}, {"tile_size": 4}, {"backend": "dense"}]
    for temperature, how in itertools.product([0.1, 0.005], ways):
        same(
            lambda x, t=temperature, k=how: ours(
                x, torch.tensor(labels), torch.tensor(instances), temperature=t, **k
            ),
            lambda z, t=temperature: definition(z, labels, instances, t),
            len(labels),
        )
    if preset in ("supcon", "sincere") and name == "uneven":
        same(
            lambda x: ours(
                x,
                torch.tensor(labels),
                torch.tensor(instances),
                temperature=0.1,
                anchors_without_positives="zero",
            ),
            lambda z: definition(z, labels, instances, 0.1, "zero"),
            len(labels),
        )


def test_nt_xent_equals_its_definition():
    instances = [0, 1, 2, 0, 1, 2, 3, 3]
    same(
        lambda x: nt_xent_loss(x, torch.tensor(instances), temperature=0.2),
        lambda z: definitions.nt_xent(z, instances, 0.2),
        8,
    )


@pytest.mark.parametrize("self_pairs", ["include", "exclude"])
def test_the_two_terms_come_apart(self_pairs):
    labels, instances = UNEVEN
    z = vectors(len(labels))
    terms = supcl_terms(
        z,
        torch.tensor(labels),
        torch.tensor(instances),
        alpha=0.25,
        temperature=0.2,
        self_pairs=self_pairs,
    )
    expected = definitions.supcl_terms(
        torch.nn.functional.normalize(z, dim=1),
        labels,
        instances,
        0.2,
        self_pairs,
        "anchors",
        "drop",
    )
    torch.testing.assert_close(terms.supervised, expected[0].detach())
    torch.testing.assert_close(terms.self_supervised, expected[1].detach())
    torch.testing.assert_close(terms.loss, 0.75 * expected[0] + 0.25 * expected[1])
    # Class 9 has one instance of two views. Instances 8 of class 5 and 21 have one view.
    assert terms.supervised_anchors_without_positives == 2
    lacking = 0 if self_pairs == "include" else sum(instances.count(i) == 1 for i in instances)
    assert terms.self_supervised_anchors_without_positives == lacking > -1
    assert not terms.supervised.requires_grad


def test_a_term_without_weight_is_logged_under_the_same_convention():
    labels, instances = UNEVEN
    z = vectors(len(labels))
    arguments = {"temperature": 0.2, "anchors_without_positives": "zero"}
    first, mixed, last = (
        supcl_terms(z, torch.tensor(labels), torch.tensor(instances), alpha=alpha, **arguments)
        for alpha in (0.0, 0.5, 1.0)
    )
    torch.testing.assert_close(first.self_supervised, mixed.self_supervised)
    torch.testing.assert_close(last.supervised, mixed.supervised)


def test_supcon_is_supcl_at_its_alpha_in_balanced_batches():
    views, per_class = 3, 4
    z = vectors(2 * per_class * views).reshape(2 * per_class, views, -1)
    labels = torch.tensor([0, 1] * per_class)
    alpha = (views - 1) / (views * per_class - 1)
    torch.testing.assert_close(
        supcon_loss(z, labels, temperature=0.3),
        supcl_loss(z, labels, alpha=alpha, temperature=0.3),
    )


def test_error_policy_names_how_many_anchors_lack_positives():
    labels, instances = UNEVEN
    arguments = {"alpha": 0.0, "temperature": 0.1, "anchors_without_positives": "error"}
    with pytest.raises(InputError, match="2 of 12 anchors"):
        supcl_loss(vectors(len(labels)), torch.tensor(labels), torch.tensor(instances), **arguments)
    # The self-supervised term has no weight, so its anchors without a positive are no error.
    labels, instances = BATCHES["one view"]
    supcl_loss(vectors(7), torch.tensor(labels), torch.tensor(instances), **arguments)
