"""Every code and measure on the page exists in the code and back."""

import re
from pathlib import Path

import uncollapse

PACKAGE = Path(uncollapse.__file__).parent / "metrics"
PAGE = PACKAGE.parents[2] / "docs" / "measure.md"


def test_codes_and_measures_of_the_page_are_those_of_the_code():
    page = PAGE.read_text("utf-8")
    source = "".join(path.read_text("utf-8") for path in PACKAGE.glob("*.py"))
    used = set(re.findall(r'"(UC\d{3})"', source))
    assert used == set(re.findall(r"UC\d{3}", page))
    from uncollapse.records import CAVEATS

    for name in CAVEATS:
        assert f"| `{name}` |" in page
