"""Every measure on the page exists in the code and back."""

from pathlib import Path

import uncollapse
from uncollapse.records import CAVEATS

PAGE = Path(uncollapse.__file__).parents[2] / "docs" / "measure.md"


def test_measures_of_the_page_are_those_of_the_code():
    page = PAGE.read_text("utf-8")
    for name in CAVEATS:
        assert f"| `{name}` |" in page
