r"""A hook of MkDocs: formulas become MathML, which browsers set without a script.

Pages have TeX between $$, which hosts of repositories set too.
"""

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(
    r'<(?:div|span) class="arithmatex">\\[\[(](.*?)\\[\])]</(?:div|span)>', re.DOTALL
)


def on_page_content(content: str, **_: object) -> str:
    """Replace each formula that the extension arithmatex marked."""
    return FORMULA.sub(_set, content)


def _set(found: re.Match[str]) -> str:
    tex = html.unescape(found[1]).strip().replace("{aligned}", "{align*}")
    return convert(tex, display="block")
