"""Draws docs/figures/demo.png from the demo's page: python docs/figures/demo.py REPORT.html."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import vl_convert

# Side by side before and after: the classes above, inside the classes below.
PICTURES = (("picture-0-0", "picture-1-0"), ("picture-0-1", "picture-1-1"))
TITLES = (("before", "after"), ("before, inside the classes", "after, inside the classes"))


def main(report: Path) -> None:
    """Draw and write the picture beside this file."""
    page = report.read_text("utf-8")
    charts = json.loads(re.search(r'id="charts">(.*?)</script>', page, re.DOTALL)[1])
    colours = dict(re.findall(r"(--[\w-]+):\s*(#\w+)", page)[::-1])  # of the light scheme

    def drawn(name: str, title: str) -> dict[str, Any]:
        text = json.dumps(charts["specs"][name])
        spec = json.loads(re.sub(r"var\((--[\w-]+)\)", lambda match: colours[match[1]], text))
        spec |= {"title": title, "width": 460, "height": 340}
        return {key: spec[key] for key in spec if key not in ("config", "$schema", "autosize")}

    config = {"background": "white", "font": "DejaVu Sans", "view": {"stroke": None}}
    rows = [
        {"hconcat": [drawn(name, side) for name, side in zip(names, sides, strict=True)]}
        for names, sides in zip(PICTURES, TITLES, strict=True)
    ]
    points = {name: _rows(columns) for name, columns in charts["data"].items()}
    spec = {"vconcat": rows, "config": config, "datasets": points}
    spec["resolve"] = {"scale": {"color": "independent", "shape": "independent"}}
    target = Path(__file__).with_suffix(".png")
    target.write_bytes(vl_convert.vegalite_to_png(spec, scale=1))


def _rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
