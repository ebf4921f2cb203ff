"""One offline page in which a setting is moved and its prediction follows at once."""

from __future__ import annotations

import json
import re
from html import escape
from importlib.resources import files
from typing import Any

from uncollapse.report.language import Code

_NUMBERS = (
    "classes", "perClass", "views", "batch", "batchPerClass", "batchClasses", "alpha",
    "temperature", "selfPairs", "reduction",
)  # fmt: skip
_CHOICES = {
    "batch": ("full", "balanced"),
    "selfPairs": ("exclude", "include"),
    "reduction": ("anchors", "pairs"),
}
_VARIANCES = ("instance", "view", "between_class")
_THRESHOLDS = ("alpha_threshold", "temperature_threshold", "view_splitting_threshold")
_KEYS = {
    "key_spread": "background:linear-gradient(90deg,#00204d,#7c7b78,#ffea46)",
    "key_collapse": "background:#cdcdcd",
    "key_splitting": "background:repeating-linear-gradient(45deg,#f0f0f0 0 3px,#5a5a5a 3px 4px)",
    "key_c": "background:linear-gradient(#777 35%,#fff 35% 65%,#777 65%)",
    "key_s": "border:0;height:0;border-top:2px dashed #000",
}


def explorer_page(lang: Code = "en") -> str:
    """The page as HTML text, which needs no network and no other file.

    Examples:
        >>> page = explorer_page("ja")
        >>> '<html lang="ja">' in page, "http" in page.replace("http-equiv", "")
        (True, False)
    """
    here = files("uncollapse.report.explorer")
    text: dict[str, Any] = json.loads((here / "texts.json").read_text("utf-8"))[lang]
    parts = {name: escape(value) for name, value in text.items() if isinstance(value, str)}
    parts |= {
        "lang": lang,
        "controls": "".join(_control(name, parts) for name in _NUMBERS),
        "variances": "".join(
            f'<tr><th scope="row">{parts[name]}</th><td id="{name}"></td>'
            f'<td class="wide"><span class="bar" id="{name}-bar"></span></td></tr>'
            for name in _VARIANCES
        ),
        "thresholds": "".join(
            f'<tr><th scope="row">{parts[name]}</th><td id="{name}"></td>'
            '<td class="wide"></td></tr>'
            for name in _THRESHOLDS
        ),
        "keys": "".join(
            f'<span><i style="{style}"></i>{parts[name]}</span>' for name, style in _KEYS.items()
        ),
        "texts": json.dumps(text, ensure_ascii=False).replace("<", "\\u003c"),
        "theory_js": (here / "theory.js").read_text("utf-8").removeprefix('"use strict";\n'),
        "page_js": (here / "page.js").read_text("utf-8").removeprefix('"use strict";\n'),
    }
    page = (here / "page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda slot: parts[slot[1]], page)


def _control(name: str, text: dict[str, str]) -> str:
    label = f'<label for="{name}">{text[name]}</label>'
    if name in _CHOICES:
        options = "".join(f'<option value="{v}">{text[v]}</option>' for v in _CHOICES[name])
        return f'<div class="row">{label}<select id="{name}">{options}</select></div>'
    slider = (
        f'<input type="range" id="{name}-slider" min="0" max="1000" step="1" '
        f'aria-label="{text[name]}">'
    )
    step = "any" if name in ("alpha", "temperature") else "1"
    number = f'<input type="number" id="{name}" step="{step}">'
    return f'<div class="row" id="{name}-row">{label}{slider}{number}</div>'
