"""Records in a notebook: one line, a page, a frame, a picture; and a report of objects."""

import re

import numpy as np
import pytest

from uncollapse import (
    Embedded,
    Measurement,
    Setting,
    compare,
    measure,
    predict,
    probe,
)
from uncollapse.records import Comparison, PilotResult, Prediction, ProbeResult, Trial
from uncollapse.records.scalars import Interval
from uncollapse.report import build_report

LABELS = np.arange(90) % 3
NOISE = np.random.default_rng(0).standard_normal((90, 8))
NAMES = np.array(["<b>one</b>", "two\x1b[31m", "three"])


def _measured(scale: float) -> Measurement:
    rows = np.eye(3, 8)[LABELS] + scale * NOISE
    return measure(rows, NAMES[LABELS], reference=rows + 0.05 * NOISE[::-1])


@pytest.fixture(scope="module")
def found() -> dict[str, object]:
    before, after = _measured(0.2), _measured(0.01)
    digit = np.arange(200) % 4
    rows = np.eye(4, 8)[digit] + 0.3 * np.random.default_rng(0).standard_normal((200, 8))
    embedded = Embedded({"z": rows}, {"even": digit % 2, "digit": digit}, label="even")
    gained = Trial(name="alpha-0.2", gain=Interval(0.1, 0.05, 0.15))
    return {
        "measurement": before,
        "comparison": compare(before, after),
        "probe": probe(embedded),
        "prediction": predict(Setting(classes=3, per_class=10, alpha=0.2, temperature=0.1)),
        "pilot": PilotResult(verdict="cannot-tell", candidates=(gained,)),
    }


KINDS = (Measurement, Comparison, ProbeResult, Prediction, PilotResult)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_one_line_a_page_a_frame_and_a_picture(found, kind):
    record = found[kind.kind]
    line = repr(record)
    assert re.fullmatch(rf"<{kind.__name__} .+>", line)
    assert len(line) < 300
    assert "\n" not in line
    page = record._repr_html_()
    assert page.count("<svg") == 1
    assert "<script" not in page
    frame = record.to_frame()
    assert len(frame) == len(record.card().rows) > 0
    spec = record.plot().to_dict()
    drawn = [bar for bar in record.card().bars if bar.estimate is not None]
    assert len(spec["layer"][0].get("data", spec["data"])["values"]) == len(drawn) > 0
    assert type(record).from_json(record.to_json()) == record


def test_the_frame_has_the_measurement_s_numbers(found):
    measurement = found["measurement"]
    frame = measurement.to_frame().set_index("class")
    for each in measurement.classes:
        row = frame.loc[each.label]
        assert row["within_class_variance"] == each.within_class_variance.estimate
        assert row["share_low"] == each.share.low
    for each in measurement.reference.classes:
        assert frame.loc[each.label]["retention"] == each.retention.estimate


def test_what_a_user_named_is_text(found):
    page = found["measurement"]._repr_html_()
    assert "<b>" not in page
    assert "&lt;b&gt;one&lt;/b&gt;" in page
    assert "\x1b" not in page


def test_a_report_takes_objects_as_it_takes_their_files(found, tmp_path):
    before, after = _measured(0.2), _measured(0.01)
    for name, record in (("before", before), ("after", after)):
        (tmp_path / f"{name}.json").write_text(record.to_json())
    of_files = build_report([tmp_path / "before.json", tmp_path / "after.json"])
    of_objects = build_report([before, after])
    assert of_objects.decision.verdict == of_files.decision.verdict
    assert of_objects.headline == of_files.headline
    assert [case.name for case in of_objects.inputs.cases] == ["measurement 1", "measurement 2"]
    assert of_objects.inputs.sources == []
    assert "measurement 1" in of_objects.to_html()
