"""Every example in a docstring runs and gives what it says, and every public name has one."""

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
PUBLIC = [name for name in uncollapse.__all__ if name != "__version__"]


def has_example(docstring):
    """Whether there is an Example section of which a line at least is not skipped."""
    shown = doctest.DocTestParser().get_examples(docstring)
    runs = [example for example in shown if not example.options.get(doctest.SKIP)]
    return "Examples:\n" in docstring and bool(runs)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_an_example_that_runs(name):
    documented = getattr(uncollapse, name)
    assert has_example(documented.__doc__)
    # It is among those that the test above runs: doctest looks where a name is defined.
    home = getattr(documented, "__module__", documented.__name__)
    assert home in MODULES


def test_the_room_of_the_pilot_has_its_functions_name_and_an_example():
    assert has_example(importlib.import_module("uncollapse.pilot").__doc__)


def test_an_example_that_is_missing_or_skipped_is_seen():
    assert not has_example("A sentence.")
    assert not has_example("A sentence.\n\nExamples:\n    >>> 1 + 1  # doctest: +SKIP\n    2\n")
    assert has_example("A sentence.\n\nExamples:\n    >>> 1 + 1\n    2\n")


def test_every_public_name_resolves():
    for name in uncollapse.__all__:
        assert getattr(uncollapse, name) is not None
    with pytest.raises(AttributeError):
        _ = uncollapse.no_such_name
