"""docs/checks.md explains every finding code and every note that the source can give."""

import ast
import re
from pathlib import Path

import pytest

import uncollapse
from uncollapse.records import REASONS

SOURCE = Path(uncollapse.__file__).parent
PAGE = (Path(__file__).parent.parent / "docs" / "checks.md").read_text("utf-8")
NOTES = {
    "theory/prediction.py": {"predict", "_notes"},
    "theory/_thresholds.py": {"thresholds_of", "_of_balanced", "_by_solving"},
    "theory/_keep.py": {"with_keep"},
    "cli/_simulated.py": {"_notes"},
}


def codes(text: str) -> set[str]:
    return set(re.findall(r"\bUC\d{3}\b", text))


def notes_of(source: str, functions: set[str]) -> list[str]:
    """The longest fixed part of every sentence in the functions, docstrings left out."""
    found = []
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef) or function.name not in functions:
            continue
        body = ast.Module(function.body[bool(ast.get_docstring(function)) :], [])
        inside = {id(v) for n in ast.walk(body) if isinstance(n, ast.JoinedStr) for v in n.values}
        for node in ast.walk(body):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            if id(node) in inside:
                continue
            texts = [p.value for p in parts if isinstance(p, ast.Constant)]
            longest = max((t for t in texts if isinstance(t, str)), key=len, default="")
            if longest.count(" ") >= 3:
                found.append(longest.strip(" :;,"))
    return found


def all_notes() -> list[str]:
    return [
        n for path, names in NOTES.items() for n in notes_of((SOURCE / path).read_text(), names)
    ]


def test_every_code_in_the_source_is_explained_and_no_other():
    source = {code for path in SOURCE.rglob("*.py") for code in codes(path.read_text("utf-8"))}
    source |= set(REASONS)
    # A row of the table, or a heading: named in passing is not explained.
    explained = codes("".join(re.findall(r"^\| UC\d{3}", PAGE, re.MULTILINE)))
    assert source == explained
    assert len(source) > 10


@pytest.mark.parametrize("note", all_notes())
def test_every_note_is_explained(note):
    assert note in " ".join(PAGE.split())


def test_the_reader_of_notes_finds_them():
    source = 'def f():\n    """A docstring of several words."""\n    g(f"a {1} then the long part")'
    assert notes_of(source, {"f"}) == ["then the long part"]
    assert len(all_notes()) > 10
