"""What a stuck loss means: public threads to their digits, and the losses themselves."""

import json

import numpy as np
import pytest
import torch

from command_line import call
from uncollapse import losses
from uncollapse.errors import InputError
from uncollapse.theory import Setting, decode_loss, predict

CLASSES, PER_CLASS, VIEWS = 4, 6, 2
LABELS = torch.arange(CLASSES).repeat_interleave(PER_CLASS)
ALPHA = 0.3
# Each takes embeddings (instances, views, d) and a temperature.
LOSSES = {
    "supcl": lambda z, t: losses.supcl_loss(z, LABELS, alpha=ALPHA, temperature=t),
    "supcon": lambda z, t: losses.supcon_loss(z, LABELS, temperature=t),
    "nt-xent": lambda z, t: losses.nt_xent_loss(z, temperature=t),
    "sincere": lambda z, t: losses.sincere_loss(z, LABELS, temperature=t),
    "l-spread": lambda z, t: losses.l_spread_loss(z, LABELS, alpha=ALPHA, temperature=t),
    "ssem-cifar": lambda z, t: losses.ssem_cifar_loss(z, LABELS, alpha=ALPHA, temperature=t),
    "ssem-imagenet": lambda z, t: losses.ssem_imagenet_loss(z, LABELS, alpha=ALPHA, temperature=t),
}


def decoded(convention, temperature=0.1, value=1.0, classes=CLASSES, views=VIEWS, **more):
    found = decode_loss(
        value, batch=CLASSES * PER_CLASS, views=views, temperature=temperature,
        convention=convention, alpha=ALPHA, classes=classes, **more,
    )  # fmt: skip
    return {state.state: state.loss for state in found.states}


@pytest.mark.parametrize(
    ("printed", "batch", "temperature"),
    [("1.9459", 4, 0.07), ("6.920", 64, 0.1), ("8.909", 256, 0.1)],
)
def test_losses_of_public_threads_are_those_of_identical_embeddings(printed, batch, temperature):
    answer = call(
        "decode-loss", printed, "--batch", f"{batch}", "--temperature", f"{temperature}",
        "--convention", "supcontrast", "--json",
    )  # fmt: skip
    states = json.loads(answer.stdout)["states"]
    assert [state["state"] for state in states if state["matches"]] == ["identical"]
    digits = len(printed.partition(".")[2])
    assert f"{states[0]['loss']:.{digits}f}" == printed


def test_a_loss_divided_once_more_is_found_under_another_factor():
    answer = call("decode-loss", ".1693", "--batch", "8", "--temperature", "0.07")
    said = " ".join(answer.stdout.split())
    assert "same point) if it is supcon's times 1 / embeddings (--factor 0.0625)" in said
    answer = call("decode-loss", ".17", "--batch", "8", "--temperature", "0.07", "--json")
    assert json.loads(answer.stdout)["others"][0]["factor"] == 1 / 16


@pytest.mark.parametrize(
    ("words", "headline"),
    [
        ("6.92 --batch 64 --convention supcontrast", "the loss of identical embeddings: every"),
        ("6.920 --batch 128 --convention supcontrast", "128 embeddings, not 256 (--batch 64)"),
        (
            "8.909 --batch 512",
            "(--convention supcontrast) and a batch has 512 embeddings, not 1024",
        ),
        ("1.9459 --batch 8", "if a batch has 8 embeddings, not 16 (--batch 4)"),
        ("3.50 --batch 64 --classes 10", "states below; between collapsed and identical"),
        ("9 --batch 64", "higher than that of random embeddings"),
        ("1 --batch 64 --classes 10", "no embeddings of equal classes reach it"),
        ("4.84 --batch 64", "4.84 is the loss of identical embeddings: every"),
    ],
)
def test_the_first_line_is_the_answer(words, headline):
    answer = call("decode-loss", *words.split(), "--temperature", "0.1")
    first = " ".join(answer.stdout.partition("\n\n")[0].split())
    assert first.startswith(words.split()[0]), first
    assert headline in first


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("convention", LOSSES)
def test_states_have_the_loss_that_the_loss_gives_them(convention, temperature):
    loss = LOSSES[convention]
    found = decoded(convention, temperature)
    same = torch.zeros(len(LABELS), VIEWS, 8, dtype=torch.float64)
    same[..., 0] = 1
    simplex = torch.eye(CLASSES, dtype=torch.float64) - 1 / CLASSES
    collapsed = simplex[LABELS][:, None].expand(-1, VIEWS, -1)
    assert found["identical"] == pytest.approx(loss(same, temperature).item(), abs=1e-12)
    assert found["collapsed"] == pytest.approx(loss(collapsed, temperature).item(), abs=1e-12)
    assert found["optimum"] <= found["collapsed"]
    generator = torch.Generator().manual_seed(0)
    shape = (20, len(LABELS), VIEWS, 512)
    draws = torch.randn(shape, dtype=torch.float64, generator=generator)
    mean = np.mean([loss(draw, temperature).item() for draw in draws])
    # Of 20 draws the mean cosine of the positives over tau has a standard error of .02, and the
    # logarithm of a mean is .005 above the mean of the logarithm.
    random = decoded(convention, temperature, dimension=512)["random"]
    assert random == pytest.approx(mean, abs=0.05)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize(
    ("convention", "alpha", "self_pairs"),
    [("supcl", ALPHA, "exclude"), ("supcon", 1 / 11, "exclude"), ("ssem-cifar", ALPHA, "include")],
)
def test_the_optimum_is_the_predicted_one(convention, alpha, self_pairs, temperature):
    setting = Setting(
        classes=CLASSES, per_class=PER_CLASS, views=VIEWS, alpha=alpha, temperature=temperature,
        self_pairs=self_pairs,
    )  # fmt: skip
    best = predict(setting, thresholds=False).loss
    assert decoded(convention, temperature)["optimum"] == pytest.approx(best, rel=1e-9)


def test_the_optimum_of_the_two_losses_without_a_prediction_is_that_of_free_embeddings():
    for convention in ("nt-xent", "l-spread"):
        torch.manual_seed(0)
        z = torch.randn(len(LABELS), VIEWS, 64, dtype=torch.float64, requires_grad=True)
        free = torch.optim.LBFGS([z], max_iter=500, line_search_fn="strong_wolfe")

        def value(z=z, free=free, convention=convention):
            free.zero_grad()
            loss = LOSSES[convention](z, 0.5)
            loss.backward()
            return loss

        free.step(value)
        assert decoded(convention, 0.5)["optimum"] == pytest.approx(value().item(), abs=1e-6)


def test_without_classes_nothing_is_said_of_what_needs_them():
    assert set(decoded("supcl", classes=None)) == {"identical", "random"}
    assert set(decoded("nt-xent", classes=None)) == {"identical", "random", "optimum"}
    assert decoded("sincere", classes=None) == {}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"value": float("nan")}, "a finite loss"),
        ({"classes": 25}, "from 2 to 24 classes in the batch"),
        ({"convention": "triplet"}, "convention as one of"),
        ({"factor": 0.0}, "a factor above 0"),
        ({"views": 1}, "each term of supcl; found one view of an instance; give views=2"),
        ({"views": 1, "convention": "nt-xent"}, "each term of nt-xent; found one view"),
        ({"classes": 24}, "found one instance of a class; give fewer classes"),
    ],
)
def test_what_cannot_be_decoded_is_refused(changed, message):
    with pytest.raises(InputError, match=message):
        decoded(**({"convention": "supcl"} | changed))


def test_two_instances_of_unknown_classes_are_a_pair():
    found = decode_loss(1.0986, batch=2, temperature=0.1)
    assert [state.state for state in found.states if state.matches] == ["identical"]


@pytest.mark.parametrize("printed", ["0", "7", ".04", "1e400", "-inf"])
def test_a_value_of_few_digits_is_no_other_convention(printed):
    answer = call("decode-loss", "--batch", "64", "--temperature", "0.1", "--", printed)
    finite = "e400" not in printed and "inf" not in printed
    assert (answer.returncode, "(--convention" in answer.stdout) == (0 if finite else 2, False)
    assert finite or "expected a finite loss" in answer.stderr
