"""One offline page in which a setting is moved and its prediction follows at once."""

from __future__ import annotations

import json
import re
from html import escape
from importlib.resources import files
from typing import Any

from uncollapse.report.language import Code


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
        "texts": json.dumps(text, ensure_ascii=False).replace("<", "\\u003c"),
        "theory_js": (here / "theory.js").read_text("utf-8").removeprefix('"use strict";\n'),
        "page_js": (here / "page.js").read_text("utf-8").removeprefix('"use strict";\n'),
    }
    page = (here / "page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda slot: parts[slot[1]], page)
