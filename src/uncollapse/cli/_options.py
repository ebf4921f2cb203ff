"""Commands and the dataclasses of their options, as typer reads them.

A command takes dataclasses, and typer sees an option for each of their fields. An option's text is
a string in its annotation, or the entry of its name in the docstring; a last `[default: ...]` there
is shown as the default. A bool is a flag without an opposite; a tuple is an option in the singular
that may be repeated; what a command takes by position is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, fields, is_dataclass
from inspect import Parameter, Signature, cleandoc, isfunction, signature
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.models import OptionInfo, ParameterInfo

from uncollapse.errors import shown

# Fields of a library's dataclass as keywords: `Annotated[Keywords, Fields(Setting, ("alpha",))]`.
Keywords = dict[str, Any]


@dataclass(frozen=True)
class Fields:
    """What a dataclass or command takes: what is named or all, some by another annotation."""

    owner: Callable[..., Any]
    names: tuple[str, ...] = ()
    instead: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self) -> Iterator[Parameter]:
        """Those fields in order, with their annotations."""
        hints = get_type_hints(self.owner, include_extras=True) | dict(self.instead)
        parameters = signature(self.owner).parameters
        for name in self.names or parameters:
            yield parameters[name].replace(annotation=hints[name])

    def options(self) -> Iterator[Parameter]:
        """An option of typer for each of them, groups spread."""
        entry = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
        texts = dict(entry.findall(cleandoc(self.owner.__doc__ or "")))
        for parameter in self.parameters():
            group = _group(parameter.annotation)
            if group is not None:
                yield from group.options()
            else:
                positional = isfunction(self.owner) and parameter.kind is not parameter.KEYWORD_ONLY
                text = " ".join(texts.get(parameter.name, "").split())
                yield _option(parameter, text, typer.Argument() if positional else typer.Option())

    def taken(self, given: Mapping[str, Any]) -> Keywords:
        """The keywords of the owner from all that typer gives."""
        keywords = {}
        for name, hint in ((p.name, p.annotation) for p in self.parameters()):
            group = _group(hint)
            if group is None:
                repeated = get_origin(_kind(hint)[0]) is tuple
                keywords[name] = tuple(given[name] or ()) if repeated else given[name]
            else:
                inside = group.taken(given)
                keywords[name] = group.owner(**inside) if is_dataclass(hint) else inside
        return keywords


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command with every dataclass that it takes spread into options; called by keywords."""
    whole = Fields(command)

    def flat(**given: Any) -> None:
        command(**whole.taken(given))

    spread = list(whole.options())
    flat.__name__, flat.__doc__ = command.__name__, command.__doc__
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in spread}
    vars(flat)["__signature__"] = Signature(spread)
    return flat


def given_words(group: Any) -> list[str]:
    """The options, as words, that give a dataclass those of its values that are no defaults."""
    words = []
    for given in fields(group):
        value = getattr(group, given.name)
        if value != given.default:
            several = value if isinstance(value, tuple) else (value,)
            name = given.name.removesuffix("s") if isinstance(value, tuple) else given.name
            for one in several:
                words += [f"--{name.replace('_', '-')}", shown(one)]
    return words


def _kind(hint: Any) -> tuple[Any, ...]:
    """The type of an annotation, and what is noted beside it."""
    return get_args(hint) if get_origin(hint) is Annotated else (hint,)


def _group(hint: Any) -> Fields | None:
    if is_dataclass(hint) and isinstance(hint, type):
        return Fields(hint)
    return next((note for note in _kind(hint) if isinstance(note, Fields)), None)


def _option(parameter: Parameter, text: str, usual: ParameterInfo) -> Parameter:
    kind, *notes = _kind(parameter.annotation)
    info = copy(next((note for note in notes if isinstance(note, ParameterInfo)), usual))
    text = next((note for note in notes if isinstance(note, str)), text)
    name, default = parameter.name.rstrip("_"), parameter.default
    if get_origin(kind) is tuple:
        item: Any = get_args(kind)[0]
        kind, name, default = list[item] | None, name.removesuffix("s"), None
    default = None if default == () else default  # several values in one text
    if shown := re.fullmatch(r"(.*) \[default: (.*)\]", text):
        text, info.show_default = shown.groups()
    info.help = info.help or text
    if isinstance(info, OptionInfo) and info.default is ...:
        info.default = f"--{name.replace('_', '-')}"
    return Parameter(
        parameter.name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info]
    )
