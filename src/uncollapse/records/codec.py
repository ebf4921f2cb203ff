"""From a record to JSON and back: one way for every file.

A record is a frozen dataclass. Its JSON has one key per field, after `kind` (which record it is)
and `schema_version` for a record that is a file of its own. Reading checks every type, range and
nesting against the fields' annotations; keys that this version does not know are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast, get_type_hints

from uncollapse.errors import InputError
from uncollapse.records.reading import parse_json, read_json
from uncollapse.storage import json_text

if TYPE_CHECKING:
    from pydantic import ValidationError


def to_json_types(value: Any) -> Any:
    """A value as plain JSON types: records and mappings as objects, sequences as arrays."""
    if is_dataclass(value) and not isinstance(value, type):
        if isinstance(value, Part):
            return value.to_dict()
        return {field.name: to_json_types(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_json_types(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json_types(part) for part in value]
    return value


@cache
def _reader(record: Hashable, *names: str) -> Any:
    """What checks JSON against a record's annotations; with names, those fields only."""
    from pydantic import TypeAdapter, create_model

    adapted: Any = record
    if names:
        hints = get_type_hints(adapted, include_extras=True)
        chosen: Any = {name: (hints[name], ...) for name in names}
        config = adapted.__pydantic_config__
        adapted = create_model(adapted.__name__, __config__=config, **chosen)
    return TypeAdapter(adapted)


def _reason(error: ValidationError, record: Any) -> str:
    first, keys = error.errors()[0], []
    for key in first["loc"]:
        with suppress(LookupError, TypeError):  # pydantic names members of unions among the keys
            record = record[key]
            keys.append(key)
    if first["type"] == "missing":
        keys.append(first["loc"][-1])
    key = ".".join(map(str, keys)) or "the whole"
    return f"{key}: {first['msg'].removeprefix('Value error, ')}"


def check_fields(record: Part) -> None:
    """Refuse what is given in Python, NumPy's numbers included, and cannot be read from JSON."""
    if all(getattr(record, f.name) is f.default for f in fields(record)):  # type: ignore[arg-type]
        return  # without a wait for pydantic
    from pydantic import ValidationError

    kind, given = type(record), record.to_dict()
    text = json.dumps(given, default=lambda v: v.item() if getattr(v, "ndim", 1) == 0 else None)
    try:
        _reader(cast(Hashable, kind), *given).validate_json(text)
    except ValidationError as error:
        wrong = f"{error.errors()[0]['input']!r} for {_reason(error, given)}"
        raise InputError(f"{kind.__name__} that fit", wrong, "change it") from error


def _not_finite(value: Any, place: str = "") -> Iterator[str]:
    """The dotted keys of numbers that strict JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        yield place.removeprefix(".")
    elif isinstance(value, (Mapping, list, tuple)):
        for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _not_finite(part, f"{place}.{key}")


class RefusedError(InputError):
    """What a record's own check refuses, though every key is of its type."""


class Part:
    """What every record can do; also read by key, as its JSON is: ``record["share"]``."""

    # Numbers are finite and of the type that is written; what is not known is left out.
    __pydantic_config__: ClassVar[Any] = {"strict": True, "allow_inf_nan": False}
    # Class variables that its JSON begins with.
    head: ClassVar[tuple[str, ...]] = ()
    # A field whose entries stand in JSON beside the other keys.
    open_field: ClassVar[str] = ""

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, one key per field."""
        return {key: to_json_types(value) for key, value in self.items()}

    @classmethod
    def from_dict(cls, record: Any, source: str = "") -> Self:
        """The inverse of `to_dict`; `source` (a file) is for the error.

        Raises:
            InputError: A key is missing, or its value is of another type or out of range.
        """
        from pydantic import ValidationError

        given, kind = record, InputError
        if cls.open_field and isinstance(record, dict):
            known = {*cls.head, *(field.name for field in fields(cls))}  # type: ignore[arg-type]
            more = {key: value for key, value in record.items() if key not in known}
            given = record | {cls.open_field: more}
        try:
            text = json.dumps(given)
            if not (key := next(_not_finite(record), "")):
                return cast(Self, _reader(cast(Hashable, cls)).validate_json(text))
            reason = f"{key}: a number must be finite"
        except ValidationError as error:
            reason = _reason(error, record)
            kind = RefusedError if error.errors()[0]["type"] == "value_error" else InputError
        except (TypeError, ValueError, RecursionError) as error:
            reason = str(error)
        raise kind(
            f"a complete {cls._title()}" + (f" in {source}" if source else ""),
            f"a record that is missing or malformed at {reason}",
            "write it again with this version",
        )

    @classmethod
    def _title(cls) -> str:
        return str(getattr(cls, "kind", cls.__name__))

    def items(self) -> list[tuple[str, Any]]:
        """Its values with their names, in order."""
        pairs: list[tuple[str, Any]] = []
        for name in (*self.head, *(field.name for field in fields(self))):  # type: ignore[arg-type]
            value = getattr(self, name)
            pairs += value.items() if name == self.open_field else [(name, value)]
        return pairs

    def keys(self) -> list[str]:
        """The names of its values, in order."""
        return [key for key, _ in self.items()]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __getitem__(self, key: str) -> Any:
        return dict(self.items())[key]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or the default where this record has none."""
        return dict(self.items()).get(key, default)


class Document(Part):
    """A record that is a JSON file of its own."""

    kind: ClassVar[str]
    schema_version: ClassVar[int] = 1
    head: ClassVar[tuple[str, ...]] = ("kind", "schema_version")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Within another record, too, it is of its kind and schema."""
        from pydantic_core import core_schema

        return core_schema.tagged_union_schema(
            {"": handler(source)},
            lambda record: cls._misfit(record) if isinstance(record, dict) else "",
            custom_error_type="kind",
            custom_error_message=f"must be a {cls._title()}, schema {cls.schema_version} or older",
        )

    @classmethod
    def _misfit(cls, record: dict[str, Any]) -> str:
        """The key of its head by which it is another record."""
        if record.get("kind", cls.kind) != cls.kind:
            return "kind"
        version = record.get("schema_version", 1)
        fits = type(version) is int and 1 <= version <= cls.schema_version
        return "" if fits else "schema_version"

    def to_json(self, indent: int | None = 2) -> str:
        """Strict JSON: numbers that do not exist are null, never NaN."""
        return json_text(self.to_dict(), indent)

    @classmethod
    def from_dict(cls, record: Any, source: str = "") -> Self:
        """The inverse of `to_dict`; a file of before there were kinds has none."""
        title, place = f"a {cls._title()}", f" in {source}" if source else ""
        if not isinstance(record, dict):
            given = f"JSON of type {type(record).__name__}"
            raise InputError(title + place, given, f"give {title}")
        if key := cls._misfit(record):
            newer = key == "schema_version"
            remedy = "install a newer uncollapse" if newer else f"give {title}"
            title += f" of schema {cls.schema_version} or older" if newer else ""
            raise InputError(title + place, f"{key} {record[key]!r}", remedy)
        return super().from_dict(record, source)

    @classmethod
    def from_json(cls, text: str, source: str = "") -> Self:
        """The inverse of `to_json`."""
        record = parse_json(text, f"JSON{f' in {source}' if source else ''}")
        return cls.from_dict(record, source)

    @classmethod
    def read(cls, path: Path, remedy: str = "write it with --json") -> Self:
        """The record in a JSON file."""
        return cls.from_dict(read_json(path, f"a {cls._title()}", remedy), str(path))


def check_choice(record: Any, name: str, known: Iterable[str | None], remedy: str) -> None:
    """Refuse a record whose field is none of the known values."""
    value = getattr(record, name)
    if value not in known:
        expected = f"{name} as one of {', '.join(map(str, known))}"
        raise InputError(expected, f"{name} = {value!r}", remedy)
