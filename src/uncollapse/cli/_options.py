"""Groups of options: a command takes dataclasses, typer sees an option for each of their fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command with every parameter that is a dataclass spread into one for each field.

    Called with keywords alone, those of the fields among them; what is left out has its default.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[Any]] = {}
    spread: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        if is_dataclass(hints[name]):
            groups[name] = hints[name]
            spread += _options(hints[name])
        else:
            kind = Parameter.KEYWORD_ONLY
            spread.append(Parameter(name, kind, default=parameter.default, annotation=hints[name]))

    def flat(**given: Any) -> None:
        for name, group in groups.items():
            inside = {f.name: given.pop(f.name) for f in fields(group) if f.name in given}
            given[name] = group(**inside)
        command(**given)

    flat.__name__, flat.__doc__ = command.__name__, command.__doc__
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in spread}
    vars(flat)["__signature__"] = Signature(spread)
    return flat


def _options(group: type[Any]) -> list[Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
