"""Options are the fields of dataclasses, their texts those of annotations and docstrings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer

from uncollapse.cli import app
from uncollapse.cli._options import Fields, Keywords, grouped

GROUP = typer.main.get_command(app)


@dataclass(frozen=True)
class Soil:
    """What a seed stands in.

    Attributes:
        depth: Centimetres of soil, a text
            of several lines. [default: the pot's]
        stones: Kind of stone; may be repeated.
        wet: Water it first.
        weight: Of the soil, in kilograms.
    """

    depth: int | None = None
    stones: tuple[str, ...] = ()
    wet: bool = False
    weight: float = 1.0
    forgotten: int = 0


@dataclass(frozen=True, kw_only=True)
class Bed:
    """Soil and light.

    Attributes:
        light_: Hours of light.
    """

    soil: Annotated[Keywords, Fields(Soil, ("wet", "weight"), {"weight": Annotated[str, "Any."]})]
    light_: int = 8


PLANTED = []


def plant(seed: Annotated[Path, "File of the seed."], soil: Soil) -> None:
    """Plant it."""
    PLANTED.append((seed, soil))


def sow(*, bed: Bed, row: Annotated[int, typer.Option("-r", "--row"), "Row."] = 1) -> None:
    """Sow it."""
    PLANTED.append((bed, row))


def command(function):
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command()(grouped(function))
    return typer.main.get_command(single)


def run(function, *words):
    PLANTED.clear()
    command(function)([*words], standalone_mode=False)
    return PLANTED.pop()


def test_a_field_is_an_option_with_the_docstring_s_text():
    options = {p.name: p for p in command(plant).params}
    assert list(options) == ["seed", "depth", "stones", "wet", "weight", "forgotten"]
    assert options["seed"].param_type_name == "argument"
    assert options["depth"].help == "Centimetres of soil, a text of several lines."
    assert options["depth"].show_default == "the pot's"
    assert options["stones"].opts == ["--stone"]
    assert (options["wet"].opts, options["wet"].secondary_opts) == (["--wet"], [])
    assert options["forgotten"].help == ""


def test_the_command_gets_the_dataclass():
    assert run(plant, "a.txt") == (Path("a.txt"), Soil())
    words = ("b.txt", "--stone", "chalk", "--stone", "flint", "--wet", "--depth", "3")
    assert run(plant, *words) == (Path("b.txt"), Soil(3, ("chalk", "flint"), True))


def test_named_fields_are_keywords_some_of_another_type():
    options = {p.name: p for p in command(sow).params}
    assert list(options) == ["wet", "weight", "light_", "row"]
    assert [options[name].opts for name in ("light_", "row")] == [["--light"], ["-r", "--row"]]
    assert options["weight"].help == "Any."
    bed, row = run(sow, "--weight", "much", "--light", "3")
    assert bed == Bed(soil={"wet": False, "weight": "much"}, light_=3)
    assert row == 1


@pytest.mark.parametrize("name", list(GROUP.commands))
def test_every_option_has_a_text(name):
    silent = [parameter.name for parameter in GROUP.commands[name].params if not parameter.help]
    assert not silent
