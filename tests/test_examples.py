"""Every example in a docstring runs and gives what it says, in every module of the package."""

import doctest
import importlib
import pkgutil

import pytest

import uncollapse

MODULES = [
    module.name
    for module in pkgutil.walk_packages(uncollapse.__path__, "uncollapse.")
    if not module.name.endswith("__main__")
]
# Functions of more than one line of use; records are shown by the function that returns them.
SHOWN = [
    "Accumulator", "CollapseMetric", "InputError", "Setting", "SupCLLoss", "advise", "measure",
    "predict", "ssem", "supcl_loss", "supcl_terms",
]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", SHOWN)
def test_the_main_names_have_an_example(name):
    assert ">>>" in getattr(uncollapse, name).__doc__


def test_every_public_name_resolves():
    for name in uncollapse.__all__:
        assert getattr(uncollapse, name) is not None
    with pytest.raises(AttributeError):
        _ = uncollapse.no_such_name
