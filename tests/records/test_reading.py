"""JSON and YAML are read in one place, within limits of depth, size and what they may hold."""

import json
import os
import time
from pathlib import Path

import pytest

from uncollapse.errors import InputError
from uncollapse.records import parse_json, parse_yaml, read_json, read_yaml, yaml_text

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join(['*' + chr(97 + k)] * 9)}]\n" for k in range(9)
)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[" * 100_000, "more than 64 levels"),
        ("[" * 65 + "]" * 65, "more than 64 levels"),
        ('{"a": {"b": NaN}}', "a.b: nan, and a number must be finite"),
        ('{"a": [1, -Infinity]}', "a.1: -inf"),
        ('{"a": 1e999}', "a: inf"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' twice"),
        ('{"a": "\\ud800"}', "a: half of a surrogate pair"),
        ('{"\\udc00": 1}', "half of a surrogate pair"),
        (f'{{"a": 1{"0" * 30}}}', "more than 64 bits"),
        (f'{{"a": 1{"0" * 5000}}}', "4300 digits"),
        ("[" + ",".join(["[]"] * 3_000_000) + "]", "more than 5,000,000 values"),
        ("", "Expecting value"),
    ],
)
def test_json_that_is_refused_and_where(text, wrong):
    began = time.monotonic()
    with pytest.raises(InputError) as error:
        parse_json(text)
    assert wrong in error.value.found
    assert time.monotonic() - began < 5  # Milliseconds; seconds where two cores serve ten.


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[" * 5000, "more than 64 levels"),
        (LAUGHS, "an alias (*name): write it out in line 2"),
        ("x: &x [*x]", "an alias"),
        ("data: 2024-13-45", "a date: put it in quotes in line 1, column 7"),
        ("data: 2024-01-01", "a date"),
        ("<<: {a: 1}", "a merge"),
        ("a: 1\nb: 2\na: 3", "the key 'a' twice in line 3"),
        ("a: !!python/object/apply:os.system [x]", "the tag python/object/apply:os.system"),
        ("? [a, b]\n: c", "a key of several values"),
        ("a: .nan", "a: nan"),
        ('a: "\\ud800"', "half of a surrogate pair"),
        ("a: \t- b", "cannot start any token"),
    ],
)
def test_yaml_that_is_refused_and_where(text, wrong):
    with pytest.raises(InputError) as error:
        parse_yaml(text)
    assert wrong in error.value.found


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_text_is_read_as_other_programs_save_it(coding, tmp_path):
    block = {"label": "不良", "list": [1, 2.5, None, True]}
    (tmp_path / "a.json").write_bytes(json.dumps(block, ensure_ascii=False).encode(coding))
    assert read_json(tmp_path / "a.json") == block


def test_what_is_written_as_yaml_is_read(tmp_path):
    names = ["ant", "bee"]
    block = {"first": names, "second": names, "date": "2024-01-01", "word": "yes", "n": 1e-5}
    (tmp_path / "a.yaml").write_text(yaml_text(block), "utf-8")
    assert read_yaml(tmp_path / "a.yaml") == block  # and no alias for the list that comes twice


def test_no_file_of_another_kind_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(InputError, match=r"no file|directory"):
            read_json(place)
    (tmp_path / "large.yaml").write_text("a: 1\n" * 300_000)
    with pytest.raises(InputError, match="1,500,000 bytes"):
        read_yaml(tmp_path / "large.yaml")
