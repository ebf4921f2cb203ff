"""JSON and YAML as files hold them: read here, within limits, and nowhere else.

Refused, in one sentence, before it can cost much: what is no regular file, too large, nested too
deep, a key that stands twice, a number that strict JSON does not have, half of a surrogate pair;
of YAML also aliases, dates, tags and keys that are no single value.
"""

from __future__ import annotations

import codecs
import json
import math
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from uncollapse.errors import InputError, near_file

# Bytes of a file, of which YAML's parser reads some 100,000 a second; values in it; depth.
MOST_BYTES, MOST_YAML_BYTES = 1 << 26, 1 << 20
MOST_VALUES, MOST_YAML_VALUES = 5_000_000, 30_000
MOST_DEPTH = 64
_LARGEST_INTEGER = 1 << 64
_STREAMS = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
STDIN = Path("-")
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class _RefusedError(ValueError):
    """Why a text is not read."""


@contextmanager
def _refusing(wanted: str, remedy: str) -> Iterator[None]:
    """What is wrong with a text, as an error that says what was wanted and what to do."""
    try:
        yield
    except FileNotFoundError as error:
        there = remedy if error.filename is None else near_file(Path(error.filename), remedy)
        raise InputError(wanted, "no such file", there) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(wanted, _reason(error), remedy) from error


def read_json(path: Path, what: str = "JSON", remedy: str = "write it with --json") -> Any:
    """What a JSON file holds, or stdin ("-"); `what` is wanted of it, `remedy` mends it.

    Raises:
        InputError: It cannot be read, or is refused as this file's first lines say.
    """
    with _refusing(f"{what} in {path}", remedy):
        return _json(_decoded(_content(path, MOST_BYTES)))


def read_text(path: Path, what: str, remedy: str, errors: str = "strict") -> str:
    """A text file whole; `what` is wanted of it, `remedy` mends it, for the error."""
    with _refusing(f"{what} in {path}", remedy):
        return _decoded(_content(path, MOST_BYTES), errors)


def parse_json(text: str, what: str = "JSON", remedy: str = "write it with --json") -> Any:
    """What a JSON text holds; refused as in a file."""
    with _refusing(what, remedy):
        return _json(text)


def read_yaml(path: Path, what: str = "YAML", remedy: str = "correct the line named") -> Any:
    """What a YAML file holds, in JSON's types; `what` is wanted of it, `remedy` mends it.

    Raises:
        InputError: It cannot be read, or is refused as this file's first lines say.
    """
    with _refusing(f"{what} in {path}", remedy):
        return _yaml(_decoded(_content(path, MOST_YAML_BYTES)))


def parse_yaml(text: str, what: str = "YAML", remedy: str = "quote it") -> Any:
    """What a YAML text holds; refused as in a file."""
    with _refusing(what, remedy):
        return _yaml(text)


def yaml_text(block: Any) -> str:
    """YAML of plain types, in their order and without aliases, as `read_yaml` reads it."""
    import yaml

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML has no types
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return str(yaml.dump(block, Dumper=Dumper, sort_keys=False, allow_unicode=True))


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"more than {MOST_DEPTH} levels"
    return " ".join((getattr(error, "strerror", None) or str(error)).split())


def _content(path: Path, most: int) -> bytes:
    """A regular file's bytes, or those of a stream that was handed over; nothing is waited for."""
    if path == STDIN:
        return _bounded(sys.stdin.buffer.read(most + 1), most)
    if str(path).startswith(_STREAMS):
        with path.open("rb") as file:
            return _bounded(file.read(most + 1), most)
    # Not blocking: a pipe that nobody writes to opens too, and is refused.
    with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise _RefusedError("a pipe, a device or a folder, which is no file")
        if about.st_size > most:
            raise _RefusedError(f"{about.st_size:,} bytes, more than {most:,}")
        return _bounded(file.read(most + 1), most)


def _bounded(content: bytes, most: int) -> bytes:
    if len(content) > most:
        raise _RefusedError(f"more than {most:,} bytes")
    return content


def _decoded(content: bytes, errors: str = "strict") -> str:
    """Text in UTF-8, or in what its first bytes say, as PowerShell writes UTF-16."""
    coding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
    return content.decode(coding or json.detect_encoding(content), errors)


def _json(text: str) -> Any:
    if text.count("[") + text.count("{") + text.count(",") > MOST_VALUES:
        raise _RefusedError(f"more than {MOST_VALUES:,} values")
    value = json.loads(text, object_pairs_hook=_once)  # NaN is refused with its place
    _check(value)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    block = dict(pairs)
    if len(block) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise _RefusedError(f"the key {counts.most_common(1)[0][0]!r} twice")
    return block


def _check(value: Any) -> None:
    """Refuse depth, numbers and text that no record of ours has; the place is named."""
    level = [value]
    for _ in range(MOST_DEPTH):
        for held in level:
            if wrong := _misfit(held):
                raise _RefusedError(f"{_place_of(held, value)}: {wrong}")
        level = [part for held in level for part in _parts(held)]
        if not level:
            return
    raise _RefusedError(f"more than {MOST_DEPTH} levels")


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return (*value, *value.values())
    return value if isinstance(value, list) else ()


def _misfit(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value}, and a number must be finite"
    if isinstance(value, int) and abs(value) >= _LARGEST_INTEGER:
        return "a whole number of more than 64 bits"
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return "half of a surrogate pair, which is no text"
    return ""


def _place_of(part: Any, value: Any) -> str:
    """Dotted keys down to a part of a value."""
    waiting = [(value, "")]
    for held, place in waiting:
        if held is part:
            return place.removeprefix(".") or "the whole"
        if isinstance(held, dict):
            waiting += [(key, f"{place}.{key}") for key in held if key is part]
            waiting += [(inner, f"{place}.{key}") for key, inner in held.items()]
        elif isinstance(held, list):
            waiting += [(inner, f"{place}.{number}") for number, inner in enumerate(held)]
    return "the whole"


def _yaml(text: str) -> Any:
    import yaml

    try:
        value = yaml.load(text, Loader=_loader())
    except yaml.YAMLError as error:
        raise _RefusedError(_place(error)) from error
    _check(value)
    return value


def _place(error: Any) -> str:
    """What PyYAML says, with line and column, and without the snippet of the file."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    return f"{getattr(error, 'problem', None) or error}{where}"


@cache
def _loader() -> Any:
    """PyYAML's safe loader of JSON's types: no aliases, no tags, no dates, each key once."""
    import yaml

    plain = ("null", "bool", "int", "float", "str", "seq", "map")
    known = {f"tag:yaml.org,2002:{name}" for name in plain}

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
        depth = values = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.peek_event()
            if isinstance(event, yaml.AliasEvent):
                raise yaml.MarkedYAMLError(
                    problem="an alias (*name): write it out", problem_mark=event.start_mark
                )
            self.depth, self.values = self.depth + 1, self.values + 1
            if self.depth > MOST_DEPTH:
                raise _RefusedError(f"more than {MOST_DEPTH} levels")
            if self.values > MOST_YAML_VALUES:
                raise _RefusedError(f"more than {MOST_YAML_VALUES:,} values")
            node = super().compose_node(parent, index)
            self.depth -= 1
            if node.tag not in known:
                what = node.tag.removeprefix("tag:yaml.org,2002:")
                what = {"timestamp": "a date: put it in quotes", "merge": "a merge (<<)"}.get(
                    what, f"the tag {what}"
                )
                raise yaml.MarkedYAMLError(problem=what, problem_mark=node.start_mark)
            return node

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        block: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a key of several values", problem_mark=key_node.start_mark
                )
            key = loader.construct_object(key_node)
            if key in block:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} twice", problem_mark=key_node.start_mark
                )
            block[key] = loader.construct_object(value_node, deep=True)
        return block

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    return Loader
