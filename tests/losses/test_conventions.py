"""docs/conventions.md holds what the code computes."""

import conventions_table
import pytest


def test_the_page_holds_the_computed_table():
    text = conventions_table.PAGE.read_text()
    written = text.split(conventions_table.BEGIN)[1].split(conventions_table.END)[0].strip()
    assert written == conventions_table.table()


def test_numbers_in_a_row_agree():
    batch = conventions_table.fixed_batch()
    rows = [*conventions_table.supcl_rows(*batch), *conventions_table.published_rows(*batch)]
    for name, ours, definition, metric_learning, _ in rows:
        for number in (ours, metric_learning):
            if number is not None:
                assert float(number) == pytest.approx(float(definition), rel=1e-12), name
