"""Edits of what JSON and YAML hold: types of leaves, keys, depth, numbers and text at the edge."""

import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import yaml

from attacks.bytes_edits import Edit, Random

# Written into a tree as text, and made into what no serialiser writes afterwards.
_RAW = re.compile(r'"@raw:(.*?)@"')
_DEEP = re.compile(r'"@deep:(\d+)@"')
_TWICE = re.compile(r'"@twice:')

NUMBERS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e300",
    "-1e300",
    "1e-320",
    "1e999",
    "-1",
    "0",
    "-0.0",
    "1",
    "0.5",
    "2",
    "1.5",
    "10",
    "4294967296",
    "9223372036854775808",
    "1" + "0" * 40,
    "1" + "0" * 5000,
)
TEXTS = (
    "",
    " ",
    "\ud800",
    "\udc80x",
    "\x1b]0;owned\x07\x1b[2J\x1b[31mRED",
    "\u202eevil\u2066",
    "\x00",
    "a\nb",
    "a\rb",
    "[/s]",
    "[bold]x[/bold]",
    "{0}",
    "%s",
    "../../escape",
    "/dev/stdin",
    "x" * 3000,
    "<script>alert(1)</script>",
    "```\n# x",
    "---\nx: 1",
    "NaN",
    "true",
    "2024-13-45",
    "\ufeff",
    "｛",
    "😀" * 50,
    "package:os/x",
    "http://127.0.0.1:1/x",
    "\u2028",
    "\x85",
    "|",
    "$(id)",
)


def _places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(tree, dict):
        for key in tree:
            yield from _places(tree[key], (*path, key))
    elif isinstance(tree, list):
        for number, part in enumerate(tree[:200]):
            yield from _places(part, (*path, number))


def _at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _put(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    _at(tree, path[:-1])[path[-1]] = value
    return tree


def _pick(tree: Any, random: Random, kinds: Any = object) -> tuple[Any, ...] | None:
    """A place, where leaves near the root are as likely as one of a hundred classes."""
    fitting = [path for path in _places(tree) if isinstance(_at(tree, path), kinds)]
    if not fitting:
        return None
    depths = sorted({len(path) for path in fitting})
    depth = depths[int(random.integers(len(depths)))]
    level = [path for path in fitting if len(path) == depth]
    return level[int(random.integers(len(level)))]


def leaf_type(tree: Any, random: Random) -> Any:
    others = (
        None,
        True,
        False,
        0,
        1.5,
        "text",
        [],
        {},
        [1],
        {"a": 1},
        [[]],
        [None],
        "1",
        "@raw:1@",
    )
    path = _pick(tree, random)
    return _put(tree, path, others[int(random.integers(len(others)))])


def leaf_number(tree: Any, random: Random) -> Any:
    path = _pick(tree, random, (int, float)) or _pick(tree, random)
    return _put(tree, path, f"@raw:{NUMBERS[int(random.integers(len(NUMBERS)))]}@")


def leaf_text(tree: Any, random: Random) -> Any:
    path = _pick(tree, random, str) or _pick(tree, random)
    return _put(tree, path, TEXTS[int(random.integers(len(TEXTS)))])


def key_text(tree: Any, random: Random) -> Any:
    path = _pick(tree, random, dict)
    if path is None or not _at(tree, path):
        return tree
    block = dict(_at(tree, path))
    key = list(block)[int(random.integers(len(block)))]
    changed = {
        TEXTS[int(random.integers(len(TEXTS)))] if k == key else k: v for k, v in block.items()
    }
    return _put(tree, path, changed)


def drop(tree: Any, random: Random) -> Any:
    path = _pick(tree, random)
    if not path:
        return tree
    del _at(tree, path[:-1])[path[-1]]
    return tree


def twice(tree: Any, random: Random) -> Any:
    """A key that stands twice, with another value."""
    path = _pick(tree, random, dict)
    block = _at(tree, path) if path is not None else None
    if not block:
        return tree
    key = list(block)[int(random.integers(len(block)))]
    other = _at(tree, _pick(tree, random))
    block[f"@twice:{key}"] = json.loads(json.dumps(other))
    return tree


def swap(tree: Any, random: Random) -> Any:
    """What stands in one place stands in another."""
    target, source = _pick(tree, random), _pick(tree, random)
    return _put(tree, target, json.loads(json.dumps(_at(tree, source))))


def deep(tree: Any, random: Random) -> Any:
    path = _pick(tree, random)
    return _put(tree, path, f"@deep:{int(random.choice([60, 400, 1500, 20000, 100000]))}@")


def long_list(tree: Any, random: Random) -> Any:
    path = _pick(tree, random, list)
    if path is None:
        return leaf_type(tree, random)
    part = _at(tree, path)
    size = int(random.choice([0, 1, 2, 300]))
    return _put(tree, path, (part * size)[:300])


TREE: tuple[Callable[[Any, Random], Any], ...] = (
    leaf_type,
    leaf_number,
    leaf_text,
    key_text,
    drop,
    twice,
    swap,
    deep,
    long_list,
)


def finished(text: str) -> bytes:
    """The text with what no serialiser writes."""
    text = _RAW.sub(lambda match: match[1], text)
    text = _DEEP.sub(lambda match: "[" * int(match[1]) + "]" * int(match[1]), text)
    return _TWICE.sub('"', text).encode("utf-8", "surrogatepass")


def json_edit(change: Callable[[Any, Random], Any]) -> Edit:
    def edit(data: bytes, random: Random) -> bytes:
        tree = change(json.loads(data), random)
        return finished(json.dumps(tree, ensure_ascii=bool(random.random() < 0.5)))

    edit.__name__ = change.__name__
    return edit


def jsonl_edit(change: Callable[[Any, Random], Any]) -> Edit:
    inner = json_edit(change)

    def edit(data: bytes, random: Random) -> bytes:
        lines = data.splitlines()
        place = int(random.integers(len(lines)))
        lines[place] = inner(lines[place], random)
        return b"\n".join(lines) + b"\n"

    edit.__name__ = change.__name__
    return edit


def yaml_edit(change: Callable[[Any, Random], Any]) -> Edit:
    """The edited tree in YAML's flow style, which is JSON but for what JSON has not."""

    def edit(data: bytes, random: Random) -> bytes:
        tree = yaml.safe_load(data)
        if next(islice(_places(tree), 100_000, None), None) is not None:
            return data  # an edit before has made aliases of aliases of it
        tree = change(tree, random)
        if random.random() < 0.5:
            return finished(json.dumps(tree, ensure_ascii=False))
        text = yaml.safe_dump(json.loads(json.dumps(tree)), allow_unicode=True, sort_keys=False)
        text = re.sub(r"'?@raw:(.*?)@'?", lambda m: m[1], text)
        text = re.sub(r"'?@deep:(\d+)@'?", lambda m: "[" * int(m[1]) + "]" * int(m[1]), text)
        return re.sub(r"'?@twice:(\w*)'?", lambda m: m[1], text).encode("utf-8", "surrogatepass")

    edit.__name__ = change.__name__
    return edit


def yaml_words(data: bytes, random: Random) -> bytes:
    """Tags, aliases, dates, merges and what else YAML knows and nobody means."""
    laughs = "\n".join(f"l{k}: &l{k} [{', '.join([f'*l{k - 1}'] * 9)}]" for k in range(1, 10))
    words = (
        "x: !!python/object/apply:os.system ['touch owned']\n",
        "x: !!python/name:os.system\n",
        f"l0: &l0 [x, x]\n{laughs}\n",
        "x: &x [*x]\n",
        "x: 2024-13-45\n",
        "x: 2024-01-01\n",
        "<<: {x: 1}\n",
        "x: 0o17\n",
        "x: 1_000\n",
        "x: 12:30:45\n",
        "x: !!binary '!!!'\n",
        "? [a, b]\n: c\n",
        "? {a: b}\n: c\n",
        "x: !!set {a, b}\n",
        "x: .nan\n",
        "x: .inf\n",
        "--- \nx: 1\n",
        "\tx: 1\n",
        "x: 'open\n",
        "%YAML 9.9\n---\n",
        "x: !<tag:a,b> c\n",
        "*x\n",
        "x: !!timestamp nothing\n",
        "x: !!int nothing\n",
        "1: 2\nnull: 3\ntrue: 4\n",
        "data: {source: digits}\ndata: {source: digits}\n",
        "x: !!omap [a: 1]\n",
        "x: [" + "{a: " * 300,
    )
    word = words[int(random.integers(len(words)))].encode()
    return word + data if random.random() < 0.5 else data.rstrip() + b"\n" + word


def encoding(data: bytes, random: Random) -> bytes:
    """The same text as other programs save it."""
    text = data.decode()
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: text.encode("utf-16"),
        lambda: text.encode("utf-8-sig"),
        lambda: text.encode("utf-32"),
        lambda: text.encode("utf-16-le"),
        lambda: text.replace("\n", "\r\n").encode(),
        lambda: text.replace("a", "\u00e9").encode("latin-1"),
        lambda: data + b"\x00" * 10,
    )
    return ways[int(np.random.default_rng(random.integers(1 << 30)).integers(len(ways)))]()


JSON = (*map(json_edit, TREE), encoding)
JSONL = (*map(jsonl_edit, TREE), encoding)
YAML = (*map(yaml_edit, TREE), yaml_words, yaml_words, encoding)
