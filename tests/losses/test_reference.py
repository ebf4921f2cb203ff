"""`reference_supcl`, the definition to read: the loops give its numbers, and so does the engine."""

import importlib
import inspect
import itertools
from dataclasses import replace

import loss_definitions as definitions
import pytest
import torch
from test_loss_bad_input import CASES, LABELS, VIEWS
from test_loss_definitions import BATCHES, UNEVEN, same, vectors

from uncollapse.errors import InputError
from uncollapse.losses import reference_supcl, supcl_loss, supcl_terms

CONVENTIONS = [
    {"self_pairs": self_pairs, "reduction": reduction, "anchors_without_positives": policy}
    for self_pairs in ("include", "exclude")
    for reduction, policy in (
        ("pairs", "drop"),
        ("pairs", "zero"),
        ("anchors", "drop"),
        ("anchors", "zero"),
    )
]
# What a definition does not refuse: values of embeddings, and how they are computed.
NOT_CHECKED = {
    *("nan", "infinity", "overflow", "zero vector", "nearly zero vector", "logits that overflow"),
    *("unknown backend", "unknown time of checks"),
    *("gather None", "tile size 0", "tile size a flag"),
    *("an instance of two labels", "one instance"),
}


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("conventions", CONVENTIONS, ids=lambda given: "-".join(given.values()))
def test_engine_and_loops_equal_the_reference(name, conventions):
    labels, instances = BATCHES[name]
    numbers = torch.tensor(labels), torch.tensor(instances)
    has_views = name != "one view" or conventions["self_pairs"] == "include"
    alphas = [0.0, 0.3, 1.0] if has_views else [0.0]
    for alpha, temperature in itertools.product(alphas, [0.5, 0.005]):
        arguments = {"alpha": alpha, "temperature": temperature, **conventions}

        def reference(z, arguments=arguments):
            return reference_supcl(z, *numbers, **arguments)

        for how in ({}, {"tile_size": 4}, {"backend": "dense"}):
            same(
                lambda z, a=arguments, k=how: supcl_loss(z, *numbers, **k, **a),
                reference,
                len(labels),
            )
        policy = conventions["anchors_without_positives"]
        same(
            reference,
            lambda z, a=alpha, t=temperature, p=policy: definitions.supcl(
                z,
                labels,
                instances,
                a,
                t,
                conventions["self_pairs"],
                conventions["reduction"],
                p,
            ),
            len(labels),
        )


MISTAKES = {
    "the weights": lambda first, second: (
        replace(first, weight=second.weight),
        replace(second, weight=first.weight),
    ),
    "the positives": lambda first, second: (replace(first, positives=("views", "class")), second),
    "the denominators": lambda *terms: tuple(replace(term, scope="all") for term in terms),
    "the anchors": lambda first, second: (replace(first, labelled_anchors=False), second),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_definition_of_the_engine_is_not_the_reference_s(name, monkeypatch):
    modules = [importlib.import_module(f.__module__) for f in (reference_supcl, supcl_terms)]
    right = modules[0].supcl_definition

    def wrong(alpha, conventions):
        definition = right(alpha, conventions)
        return replace(definition, terms=MISTAKES[name](*definition.terms))

    batch = vectors(15), *map(torch.tensor, UNEVEN)
    arguments = {"alpha": 0.3, "temperature": 0.2, "anchors_without_positives": "zero"}
    expected, before = reference_supcl(*batch, **arguments), supcl_loss(*batch, **arguments)
    torch.testing.assert_close(before, expected)
    for module in modules:
        monkeypatch.setattr(module, "supcl_definition", wrong)
    assert torch.equal(reference_supcl(*batch, **arguments), expected)
    assert not torch.isclose(supcl_loss(*batch, **arguments), expected)


def test_every_convention_is_another_number():
    labels, instances = map(torch.tensor, UNEVEN)
    # Under "pairs", an anchor without a pair has nothing to leave out.
    zero = {"reduction": "pairs", "anchors_without_positives": "zero"}
    different = [c for c in CONVENTIONS if c != {**c, **zero}]
    values = {
        round(
            reference_supcl(
                vectors(15), labels, instances, alpha=0.3, temperature=0.2, **conventions
            ).item(),
            9,
        )
        for conventions in different
    }
    # With self pairs every anchor of L_self has a positive, but not every one of L_sup.
    assert len(values) == len(different) == 6


def test_layouts_labels_and_norms_are_those_of_the_loss():
    z = vectors(24, 6).reshape(8, 3, 6).detach()
    labels = torch.tensor([0, 0, 1, -1, 2, 1, -1, 0])
    for given, arguments in (
        ((labels,), {"alpha": 0.4}),
        ((labels, torch.arange(8) * 7), {"alpha": 0.4, "normalize": False}),
        ((None,), {"alpha": 1.0, "self_pairs": "include"}),
        ((labels * 0,), {"alpha": 0.4, "one_class": "allow"}),
    ):
        x, y = z.clone().requires_grad_(), z.clone().requires_grad_()
        value = supcl_loss(x, *given, temperature=0.2, **arguments)
        expected = reference_supcl(y, *given, temperature=0.2, **arguments)
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10)
        value.backward()
        expected.backward()
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-10, atol=1e-10)
    half = reference_supcl(z.to(torch.bfloat16), labels, alpha=0.4, temperature=0.2)
    assert half.dtype == torch.float32


@pytest.mark.parametrize("name", [name for name in CASES if name not in NOT_CHECKED])
def test_what_the_loss_refuses_the_reference_refuses(name):
    changes, message = CASES[name]
    arguments = {"embeddings": VIEWS, "labels": LABELS, "alpha": 0.5, "temperature": 0.1}
    with pytest.raises(InputError, match=message):
        reference_supcl(**{**arguments, **changes})


def test_it_has_second_derivatives():
    z, labels = vectors(6, 3), torch.tensor([0, 0, 1, 1, -1, 0])
    assert torch.autograd.gradgradcheck(
        lambda x: reference_supcl(x, labels, alpha=0, temperature=0.5), z
    )


def test_it_has_every_convention_of_the_loss():
    ours, reference = (inspect.signature(f).parameters for f in (supcl_loss, reference_supcl))
    computed = {
        "gather",
        "process_group",
        "tile_size",
        "degenerate",
        "backend",
        "checks",
        "precision",
    }
    assert {name: p for name, p in ours.items() if name not in computed} == dict(reference)
