"""One offline page in which a setting is moved and its prediction follows at once."""

from __future__ import annotations

import json
import re
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from uncollapse.records import BalancedBatch, Calibration
from uncollapse.report.language import Code

# Draws of a calibration's constants that the page computes at every move.
DRAWS = 40
# Shares of classes up to this factor apart are drawn as equal.
EQUAL = 1.25


def explorer_page(lang: Code = "en", calibration: Calibration | None = None) -> str:
    """The page as HTML text, which needs no network and no other file.

    With a calibration it begins at the setting of its first run and says what a network like those
    shows.

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
        "calibration": json.dumps(None if calibration is None else _constants(calibration)),
        "network_js": (here / "network.js").read_text("utf-8").removeprefix('"use strict";\n'),
        "theory_js": (here / "theory.js").read_text("utf-8").removeprefix('"use strict";\n'),
        "advice_js": (here / "advice.js").read_text("utf-8").removeprefix('"use strict";\n'),
        "page_js": (here / "page.js").read_text("utf-8").removeprefix('"use strict";\n'),
    }
    page = (here / "page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda slot: parts[slot[1]], page)


def _constants(calibration: Calibration) -> dict[str, Any]:
    """What the page needs of a calibration, and the setting that it begins with."""
    settings = [run.setting for run in calibration.runs]
    first, counts = settings[0], settings[0].counts
    temperatures = [setting.temperature for setting in settings]
    start: dict[str, Any] = {
        "classes": len(counts),
        "perClass": round(float(counts.mean())),
        "views": first.views,
        "alpha": first.alpha,
        "temperature": first.temperature,
        "selfPairs": first.self_pairs,
        "reduction": first.reduction,
    }
    if isinstance(first.batch, BalancedBatch):
        start |= {"batch": "balanced", "batchPerClass": first.batch.per_class}
        start["batchClasses"] = first.batch.classes or len(counts)
    chosen = np.linspace(0, len(calibration.draws) - 1, DRAWS).round().astype(int)
    return {
        "draws": [calibration.draws[k] for k in dict.fromkeys(chosen.tolist())],
        "before": [calibration.within_before, calibration.between_before],
        "discrepancy": calibration.discrepancy,
        "confidence": calibration.confidence,
        "classes": len(counts),
        "equal": bool(counts.max() <= EQUAL * counts.min()),
        "temperatures": [min(temperatures), max(temperatures)],
        "views": sorted({setting.views for setting in settings}),
        "start": start,
    }
