"""The cases' tables, from docs/study/case-tables.json into the pages.

    python benchmarks/case_pages.py [runs/cases/case-tables.json]

A page names a table by `<!-- table NAME -->`, and the gains with their intervals by
`<!-- gains NAME -->` (`all`: a line of each case); what follows up to `<!-- end -->` is written
anew. A given file of `case_tables.py` or `case_text.py` is first taken into
docs/study/case-tables.json.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from case_gains import gained, gains
from case_scores import headline, table

DOCS = Path(__file__).parent.parent / "docs"
STORED = DOCS / "study" / "case-tables.json"
ORDER = ("digits", "cells", "garments", "garments-headless", "text", "text-encoder")
PLACE = re.compile(r"(<!-- (table|gains) ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """A page with the tables that it names."""
    return PLACE.sub(lambda found: f"{found[1]}\n{_table(*found.group(2, 3))}\n\n{found[4]}", text)


def _table(kind: str, name: str) -> str:
    cases = stored()
    if name == "all":
        return headline(cases) if kind == "table" else gained(cases)
    return (table if kind == "table" else gains)(cases.get(name, []))


def stored() -> dict[str, Any]:
    """Runs of every case, as taken."""
    return json.loads(STORED.read_text("utf-8")) if STORED.exists() else {}


def take(given: Path) -> None:
    """Take the cases of a file of runs, to four digits, a line per run."""
    cases = stored() | json.loads(given.read_text("utf-8"))
    blocks = []
    for name, runs in sorted(cases.items(), key=lambda entry: ORDER.index(entry[0])):
        rounded = [
            run | {"scores": {key: round(value, 4) for key, value in run["scores"].items()}}
            for run in runs
        ]
        lines = ",\n".join(json.dumps(run, ensure_ascii=False) for run in rounded)
        blocks.append(f"{json.dumps(name)}: [\n{lines}\n]")
    STORED.write_text("{\n" + ",\n".join(blocks) + "\n}\n", "utf-8")


def main() -> None:
    for given in sys.argv[1:]:
        take(Path(given))
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text("utf-8")
        if with_tables(text) != text:
            page.write_text(with_tables(text), "utf-8")
            print(page)


if __name__ == "__main__":
    main()
