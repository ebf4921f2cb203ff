"""Headlines say what is shown, in both languages."""

from pathlib import Path

import numpy as np
import pytest

from uncollapse.metrics import Margins, measure
from uncollapse.records import LayerScores, Objective, PilotResult, Trial, TrialRun
from uncollapse.report.decide.decide import pilot_decision
from uncollapse.report.decide.decision import headline_of
from uncollapse.report.inputs_model import Measured
from uncollapse.report.language import language

NOT_SHOWN = {"en": "is not shown", "ja": "確認できていません"}
LOSES = {"en": "loses what is inside", "ja": "情報が失われています"}


def piloted(*differences, kinds=5):
    """A pilot that recommends nothing; by seed, what the other layer recognises more."""
    runs = tuple(
        TrialRun(
            seed=seed,
            measured={
                "projector": LayerScores(objective=0.6, task=0.9),
                "backbone": LayerScores(objective=0.6 + more, task=0.9),
            },
        )
        for seed, more in enumerate(differences)
    )
    mean = {
        "projector": {"objective": 0.6},
        "backbone": {"objective": 0.6 + sum(differences) / len(differences)},
    }
    return PilotResult(
        verdict="cannot-tell",
        objective=Objective("within-class", "accuracy of digit", ("digit",), kinds=kinds),
        start=Trial(status="complete", runs=runs, mean=mean),
    )


@pytest.mark.parametrize("code", ["en", "ja"])
@pytest.mark.parametrize("kinds", [5, None])
def test_a_layer_loses_only_where_that_is_shown_over_seeds(code, kinds):
    def said(*differences):
        return language(code).say(pilot_decision(piloted(*differences, kinds=kinds)).headline)

    for text, loses in ((said(0.2, 0.21, 0.19), True), (said(0.2, -0.1, 0.1), False),
                        (said(0.2), False)):  # fmt: skip
        assert (LOSES[code] in text, NOT_SHOWN[code] in text) == (loses, not loses)
        assert text.count("%") == 2
    above = said(-0.1, -0.1, -0.1)
    assert LOSES[code] not in above
    assert above.count("%") == 1


@pytest.mark.parametrize(
    ("code", "part"), [("en", "but for a loss within the margin"), ("ja", "以内の低下を除いて")]
)
def test_a_loss_within_the_margin_is_in_the_headline(code, part):
    rng = np.random.default_rng(0)
    labels, fine = np.repeat([0, 1], 120), np.tile([0, 1], 120)
    base = 0.3 * rng.standard_normal((240, 6))
    base[:, 0] += fine
    options = {"fine_labels": fine, "margins": Margins(fine_loss=0.6), "permutations": 0}
    lossy = base + 0.6 * rng.standard_normal(base.shape)
    found = measure(lossy, labels, reference=base, **options)
    spoken = language(code)
    assert part in spoken.say(headline_of(Measured("z", "", "", found)))
    assert part in spoken.translate(found.reasons[0].text, found.reasons[0].messages[0])
    turned = measure(base @ np.diag([1, 1, 1, 1, 1, 0.5]), labels, reference=base, **options)
    assert turned.reasons[0].code == "UC404"
    assert part not in spoken.say(headline_of(Measured("z", "", "", turned)))


@pytest.mark.parametrize("code", ["en", "ja"])
def test_what_is_better_and_free_but_not_deployed_is_on_the_first_screen(code):
    piloted_demo = PilotResult.read(Path(__file__).parents[2] / "docs/study/demo-pilot.json")
    said = language(code).say(pilot_decision(piloted_demo).gain[-1])
    assert "91.4%" in said
    assert "89.4%" in said
    assert piloted_demo.better_elsewhere()[0] == "projector-beside-inputs"
    assert piloted(0.2, 0.2).better_elsewhere() is None  # nothing is recommended
