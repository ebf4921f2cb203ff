"""A loss that stands still at the value of a known state is said once; others are not."""

import math
import subprocess
import sys
import warnings
from functools import partial

import pytest
import torch

from uncollapse import SupCLLoss, decode_loss
from uncollapse.errors import InputError
from uncollapse.monitor import CollapseWarning, StuckLoss

# Four public threads of SupContrast: batch, temperature, factor of the loss, and the loss as it was
# printed. The last divides by the number of embeddings once more.
THREADS = [
    (4, 0.07, None, 1.9459),
    (64, 0.1, None, 6.920),
    (256, 0.1, None, 8.909),
    (8, 0.07, 1 / 16, 0.1693),
]


def said(decode, losses, **options):
    """(step, state) of everything that is warned of, each with its state in the warning."""
    stuck = StuckLoss(decode, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step, loss in enumerate(losses):
            stuck.update(loss, step)
    assert len(caught) == len(stuck.found)
    for warning, (step, state) in zip(caught, stuck.found, strict=True):
        assert warning.category is CollapseWarning
        assert str(warning.message).startswith(f"step {step}: the loss has stood at ")
        assert f"`{state.state}` ({state.loss:.5g})" in str(warning.message)
    return [(step, state.state) for step, state in stuck.found]


@pytest.mark.parametrize(("batch", "temperature", "factor", "loss"), THREADS)
def test_the_public_threads_are_identical_embeddings(batch, temperature, factor, loss):
    decode = partial(
        decode_loss, batch=batch, temperature=temperature, convention="supcontrast", factor=factor
    )
    assert said(decode, [loss] * 1000) == [(199, "identical")]


def test_a_loss_proves_no_state():
    """Other embeddings can have the loss of collapsed classes; what is said holds of them too."""
    decode = partial(decode_loss, batch=64, temperature=0.1, classes=4)
    (loss,) = [state.loss for state in decode(1.0).states if state.state == "collapsed"]
    stuck = StuckLoss(decode, steps=4)
    for step in range(3):
        stuck.update(loss, step)
    with pytest.warns(CollapseWarning, match="A loss alone cannot say so") as caught:
        stuck.update(loss, 3)
    assert "the value of the state `collapsed`" in str(caught[0].message)
    assert "If so, the labels are learned" in str(caught[0].message)


def test_it_says_which_state_the_embeddings_are_in():
    torch.manual_seed(0)
    labels = torch.arange(64) % 4
    criterion = SupCLLoss(alpha=0.2, temperature=0.1)
    decode = partial(decode_loss, batch=64, temperature=0.1, alpha=0.2, classes=4)
    states = {
        "identical": lambda: torch.ones(64, 2, 128) + 1e-5 * torch.randn(64, 2, 128),
        "random": lambda: torch.randn(64, 2, 128),
        "collapsed": lambda: (
            (torch.eye(4, 128) - torch.eye(4, 128).mean(0))[labels].unsqueeze(1).repeat(1, 2, 1)
        ),
    }
    for name, embeddings in states.items():
        losses = [criterion(embeddings(), labels) for _ in range(40)]
        assert said(decode, losses, steps=40) == [(39, name)]


def test_a_loss_that_passes_or_lies_beside_is_not_said():
    decode = partial(decode_loss, batch=64, temperature=0.1, classes=4)
    identical = math.log(127)
    passing = [identical * (1.02 - 0.04 * t / 999) for t in range(1000)]
    assert said(decode, passing) == []
    assert said(decode, [identical * 1.001] * 1000) == []
    assert said(decode, [math.nan] * 1000) == []
    # A smaller batch at the end of each epoch does not hide it.
    assert said(decode, [math.log(63) if t % 10 == 9 else identical for t in range(300)])


def test_means_over_many_steps_and_what_is_excluded():
    decode = partial(decode_loss, batch=64, temperature=0.1)
    stuck = StuckLoss(decode)
    for step in range(500, 2000, 500):
        stuck.update(math.log(127), step, covers=500)
    assert stuck.found == []  # three values are not enough to see that it stands still
    stuck.update(math.log(127), 2000, covers=500, excluded=("identical",))
    assert stuck.found == []
    with pytest.warns(CollapseWarning, match="stood at 4.8442 for 2000 steps"):
        stuck.update(math.log(127), 2500, covers=500)
    assert [state.state for _, state in stuck.found] == ["identical"]


def test_a_loss_without_a_known_state_is_refused():
    with pytest.raises(InputError, match="number of classes"):
        StuckLoss(partial(decode_loss, batch=64, temperature=0.1, convention="sincere"))
    with pytest.raises(InputError, match="steps >= 4"):
        StuckLoss(partial(decode_loss, batch=64, temperature=0.1), steps=3)


def test_what_measures_arrays_needs_no_torch():
    names = "StuckLoss, CollapseWarning, as_numbers, warn_of"
    code = f"import sys; from uncollapse.monitor import {names}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
