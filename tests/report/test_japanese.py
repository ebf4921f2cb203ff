"""No English sentence is left in a Japanese page, whatever it is made of."""

import json
import re

import numpy as np
import pytest
from markup import SCRIPT, Text

from uncollapse import ReportOptions, build_report, compare
from uncollapse.pilot import objective
from uncollapse.records import SENTENCES, Estimate, Message, PilotReason
from uncollapse.report.language import language
from uncollapse.tables import Columns

# Four English words in a row; names, keys and licences are shorter or have capitals.
ENGLISH = re.compile(r"(?:\b[a-z]{2,}[ ,;:]+){3,}[a-z]{2,}")


def english(report):
    """Phrases of the page's text and of its charts."""
    html = report.to_html()
    # Each text of its own: cells of a table are no sentence.
    found = [one for text in Text(html).words for one in ENGLISH.findall(text)]
    charts = json.loads(re.search(r'id="charts">(.*?)</script>', html, re.DOTALL)[1])

    def texts(value):
        if isinstance(value, dict):
            for one in value.values():
                yield from texts(one)
        elif isinstance(value, list):
            for one in value:
                yield from texts(one)
        elif isinstance(value, str):
            yield value

    fonts = charts["specs"] and next(iter(charts["specs"].values()))["config"]["font"]
    return found + [t for t in texts(charts) if t != fonts and ENGLISH.search(t)]


def test_the_pattern_finds_english():
    assert ENGLISH.search("the interval does not lie above zero")
    assert not ENGLISH.search("uncollapse pilot digits.yaml --seeds 3 クラス内 loss.alpha")


def test_a_pilot(pilot_folder, pilot):
    report = build_report([pilot_folder], "ja")
    assert english(report) == []
    words = Text(report.to_html()).text
    for part in ("UC801", "検証データでの目的指標の変化は+13.0", "Dunnett", "途中で打ち切り"):
        assert part in words
    card = re.sub(r"^    .*$", "", report.to_markdown().split("---\n")[2], flags=re.MULTILINE)
    assert ENGLISH.findall(card.replace("|", "\n")) == []
    for verdict in ("keep", "cannot-tell"):
        pilot |= {"verdict": verdict, "recommendation": None}
        (pilot_folder / "pilot.json").write_text(json.dumps(pilot))
        assert english(build_report([pilot_folder], "ja")) == []


def test_runs_seeds_and_probes(seeds, runs):
    assert english(build_report(runs, "ja")) == []
    assert english(build_report(seeds, "ja")) == []
    assert english(build_report([runs[0] / "probe.json"], "ja")) == []


def test_a_comparison_and_slices(tmp_path):
    rng, rows = np.random.default_rng(0), 240
    label = np.repeat([0, 1], rows // 2)
    vectors = np.eye(2, 8)[label] + 0.3 * rng.standard_normal((rows, 8))
    slices = {
        "site": np.tile(["a", "b", SCRIPT], rows // 3),
        "machine": np.tile(["x", "y"], rows // 2),
    }
    np.savez(tmp_path / "z.npz", z=vectors, label=label, fine=np.tile([0, 1], rows // 2), **slices)
    options = ReportOptions(columns=Columns(fine="fine", slices=("site", "machine")))
    report = build_report([tmp_path / "z.npz"], "ja", options=options)
    assert english(report) == []
    found = report.inputs.cases[0].measured[0].measurement
    assert set(found.slices) == {"site", "machine"}
    record = compare(found, found).to_dict()
    (tmp_path / "c.json").write_text(json.dumps(record))
    assert english(build_report([tmp_path / "c.json"], "ja")) == []


@pytest.mark.parametrize(
    "sentence",
    [
        "seed 3: its process died 3 times",
        "measured as collapsed after 4 epochs",
        "predicted for 300 classes of equal size; theirs differ",
        "all rows for training, as asked",
        "train, test as given",
        "0.1 for validation of the training rows drawn with seed 3, whole groups, stratified by "
        "label and finer labels",
        "epoch 0 reaches 1,200 of 1,258 rows",
        "5 of 9 images are turned as their EXIF data say",
        "class '7' has no test row",
        "alpha lies within 2% of its threshold: there the loss is almost flat, and training may "
        "end on either side",
        "at alpha = 0.5 the classes are spread at every temperature",
        "not solved to the usual accuracy: certificate_gap is 3.1e-05",
        "expectation over 64 sampled batches; standard error of the loss 1.2e-03, certificate_gap "
        "is for the sampled expectation",
        "seed 3: it left no result",
    ],
)
def test_rare_sentences(sentence):
    spoken = language("ja").translate(sentence)
    assert spoken is not None
    assert not re.search("[a-z]{4,}", spoken.replace("alpha", ""))


GAIN, TASK = Estimate(13.0, 8.0, 18.0), Estimate(-0.2, -0.9, 0.5)
# What a pilot says, with values such as it gives.
DECISIONS = {
    "pilot.recommended": {
        "changes": ("loss.alpha 0.0 -> 0.2", "views.count 2 -> 4"),
        "gain": GAIN,
    },
    "pilot.unclear": {"name": "a", "gain": GAIN, "seeds": 7},
    "pilot.unclear-many": {"name": "a", "gain": GAIN},
    "pilot.undecided": {"name": "a", "gain": GAIN, "least": 2.0, "seeds": 7},
    "pilot.undecided-many": {"name": "a", "gain": GAIN, "least": 2.0},
    "pilot.undecided-cost": {"name": "a", "gain": GAIN, "task": TASK, "margin": 1.0, "seeds": 7},
    "pilot.undecided-cost-many": {"name": "a", "gain": GAIN, "task": TASK, "margin": 1.0},
    "pilot.untrained": {},
    "pilot.costly": {"name": "a", "gain": GAIN, "task": -4.0, "margin": 1.0},
    "pilot.small": {"least": 2.0, "name": "a", "gain": GAIN},
    "pilot.confirmed": {"gain": GAIN, "task": TASK},
    "pilot.not-ruled-out": {"loss": 5.6, "margin": 1.0},
    "pilot.recommended-free": {"name": "a", "gain": GAIN},
    "pilot.over-free": {"name": "a", "gain": GAIN, "task": TASK},
    "pilot.not-over-free": {"name": "a", "gain": GAIN, "task": TASK},
    "pilot.next": {"name": "a", "gain": GAIN, "task": TASK},
    "pilot.base-best": {"base": "b", "name": "a", "layer": "c", "gain": GAIN, "task": TASK},
    "pilot.base-best-elsewhere": {
        "base": "b",
        "name": "a",
        "layer": "c",
        "gain": GAIN,
        "task": TASK,
    },
    "pilot.retained": {"reference": "b"},
    "pilot.references-disagree": {
        "first": "b",
        "second": "c",
        "name": "a",
        "other": "d",
        "gain": GAIN,
    },
    "pilot.collapsed-reference": {"reference": "b", "share": 0.32, "inputs": 0.97},
    "pilot.unrelated": {"reference": "b", "retention": 0.003, "shuffled": 0.021},
    "pilot.kept-itself": {"name": "a", "reference": "b"},
    "pilot.kept-itself-seen": {"name": "a", "reference": "b", "views": GAIN},
    "pilot.kept-contradicted": {"name": "a", "reference": "b", "views": TASK},
    "pilot.failed": {"reason": "seed 3: its process died 3 times"},
}


def test_every_decision_of_a_pilot_is_translated():
    japanese = language("ja")
    assert set(DECISIONS) == {key for key in SENTENCES if key.startswith("pilot.")}
    for key, values in DECISIONS.items():
        reason = PilotReason.from_key("UC801", key, **values)
        said = japanese.translate(reason.text, reason.message)
        for name in ("alpha", "loss.keep", "loss.", "keep", "views.count"):
            said = said.replace(name, "")
        assert not re.search("[a-z]{4,}", said), reason.text
    failed = PilotReason.from_key("UC804", "pilot.failed", **DECISIONS["pilot.failed"])
    assert "乱数シード3" in japanese.translate(failed.text, failed.message)


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("within-class", ("a", "b")),
        ("downstream", ("c",)),
        ("retention", ("d", "e")),
        ("other-view", ()),
    ],
)
def test_every_objective_of_a_pilot_is_translated(kind, columns):
    message = Message(f"objective.{kind}", {"columns": columns})
    said = language("ja").translate(objective(kind, columns).text, message)
    assert not re.search("[a-z]{4,}", said)


def test_names_in_a_sentence_are_listed_as_the_language_does():
    message = Message("objective.downstream", {"columns": ("a", "b")})
    assert "a、b" in language("ja").say(message)
