"""From a record to JSON and back: one way for every file.

A record is a frozen dataclass. Its JSON has one key per field, after `kind` (which record it is)
and `schema_version` for a record that is a file of its own. Reading checks every type, range and
nesting against the fields' annotations; keys that this version does not know are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, cast

from annotated_types import Ge, Gt, Le

from uncollapse.errors import InputError

# Numbers with the range that reading checks.
Count = Annotated[int, Ge(0)]
PositiveCount = Annotated[int, Ge(1)]
Fraction = Annotated[float, Ge(0), Le(1)]
NotNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]


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
def _reader(record: Hashable) -> Any:
    """What checks JSON against a record's annotations; made once for each class of record."""
    from pydantic import TypeAdapter

    adapted: Any = record
    return TypeAdapter(adapted)


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

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, one key per field."""
        return {f.name: to_json_types(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_dict(cls, record: Any, source: str = "") -> Self:
        """The inverse of `to_dict`.

        Args:
            record: The parsed JSON.
            source: Where it came from (a file), for the error.

        Raises:
            InputError: A key is missing, or its value is of another type or out of range.
        """
        from pydantic import ValidationError

        kind = InputError
        try:
            reader = _reader(cast(Hashable, cls))
            text = json.dumps(record)
            key = next(_not_finite(record), "")
            if not key:
                read: Self = reader.validate_json(text)
                return read
            reason = f"{key}: a number must be finite"
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "the whole"
            reason = f"{key}: {first['msg'].removeprefix('Value error, ')}"
            kind = RefusedError if first["type"] == "value_error" else InputError
        except (TypeError, ValueError, RecursionError) as error:
            reason = str(error)
        raise kind(
            f"a complete {cls._title()}" + (f" in {source}" if source else ""),
            f"a record that is missing or malformed at {reason}",
            "write it again with this version",
        )

    @classmethod
    def _title(cls) -> str:
        return cls.__name__

    def keys(self) -> list[str]:
        """The names of its values, in order."""
        return [field.name for field in fields(self)]  # type: ignore[arg-type]

    def items(self) -> list[tuple[str, Any]]:
        """Its values with their names, in order."""
        return [(key, self[key]) for key in self.keys()]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __getitem__(self, key: str) -> Any:
        if key not in self.keys():
            raise KeyError(key)
        return getattr(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or the default where this record has none."""
        try:
            return self[key]
        except KeyError:
            return default


class Document(Part):
    """A record that is a JSON file of its own."""

    kind: ClassVar[str]
    schema_version: ClassVar[int] = 1

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types: `kind`, `schema_version`, one key per field."""
        head = {"kind": self.kind, "schema_version": self.schema_version}
        return head | super().to_dict()

    def keys(self) -> list[str]:
        """The names of its values, `kind` and `schema_version` first."""
        return ["kind", "schema_version", *super().keys()]

    def to_json(self, indent: int | None = 2) -> str:
        """Strict JSON: numbers that do not exist are null, never NaN."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False, ensure_ascii=False)

    @classmethod
    def from_dict(cls, record: Any, source: str = "") -> Self:
        """The inverse of `to_dict`; a file of before there were kinds has none.

        Raises:
            InputError: Another kind, a newer schema, a missing key, a value that does not fit.
        """
        place = f" in {source}" if source else ""
        if not isinstance(record, dict) or record.get("kind", cls.kind) != cls.kind:
            kind = f"kind {record.get('kind')!r}" if isinstance(record, dict) else ""
            other = kind or f"JSON of type {type(record).__name__}"
            raise InputError(f"a {cls._title()}{place}", other, f"give a {cls._title()}")
        version = record.get("schema_version", 1)
        if type(version) is not int or not 1 <= version <= cls.schema_version:
            raise InputError(
                f"a {cls._title()} of schema {cls.schema_version} or older{place}",
                f"schema_version {version!r}",
                "install a newer uncollapse",
            )
        return super().from_dict(record, source)

    @classmethod
    def from_json(cls, text: str, source: str = "") -> Self:
        """The inverse of `to_json`."""
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"JSON{f' in {source}' if source else ''}", f"{error}", "write it with --json"
            ) from error
        return cls.from_dict(record, source)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record in a JSON file."""
        return cls.from_dict(read_json(path, f"a {cls._title()}"), str(path))

    @classmethod
    def _title(cls) -> str:
        return cls.kind


def read_json(path: Path, what: str = "JSON", remedy: str = "write it with --json") -> Any:
    """What a JSON file holds.

    Args:
        path: The file.
        what: Is wanted of it, for the error.
        remedy: What to do where it cannot be read.

    Raises:
        InputError: It cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{what} in {path}", " ".join(str(error).split()), remedy) from error
