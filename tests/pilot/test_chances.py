"""How often a pilot is right: its own stages, given runs whose objectives are drawn.

13 candidates, 3 seeds; objectives deviate by .025 from seed to seed, accuracies of the training
label by .002. docs/pilot.md has the figures of 2000 pilots.
"""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from uncollapse.pilot import Outcome, PilotOptions
from uncollapse.pilot._stages import Stages
from uncollapse.records import LayerScores, Objective, PilotPlan, Trial, TrialFile

SEEDS, DEVIATION, PILOTS = 3, 0.025, 2000
OPTIONS = PilotOptions(seeds=SEEDS)


def pilot_of(gain, rng):
    """A pilot of 13 candidates of which one, somewhere among the others, gains."""

    def runner(jobs, workers, ended):
        for job in jobs:
            objective = 0.5 + gain * (job.trial == "true") + DEVIATION * rng.standard_normal()
            task = 0.9 + 0.002 * rng.standard_normal()
            scores = LayerScores(0.1, 0.2, "healthy", task, objective=objective)
            yield Outcome(TrialFile(seed=job.seed, measured={"projector": scores}))

    stages = Stages(
        SimpleNamespace(goal=Objective()),
        OPTIONS,
        PilotPlan(epochs=9, short=3, seconds_per_epoch=1, runs=1, seconds=1),
        Path("pilot"),
        runner,
        lambda step: None,
        0,
        tuple(range(SEEDS)),
        tuple(range(1000, 1000 + SEEDS)),
    )
    names = rng.permutation(["true", *map(str, range(12))]).tolist()
    return stages.run(Trial(), *(Trial(name=name, size=k) for k, name in enumerate(names)))


def open_finalists(found):
    """How many are not seen to gain less than is worth a change; a confirmed one's is another."""
    gains = [trial.gain for trial in found.candidates if trial.gain is not None]
    retried = sum(reason.code == "UC804" for reason in found.reasons)
    return sum(gain.high >= OPTIONS.least_gain for gain in gains) - retried


def chances(gain):
    """Of many pilots the parts with each verdict, and of those that confirmed the part that did."""
    rng, counts = np.random.default_rng(20261129), Counter()
    for _ in range(PILOTS):
        found = pilot_of(gain, rng)
        chosen = found.recommendation and found.recommendation.trial
        counts[found.verdict] += 1
        counts["right change"] += chosen == "true"
        gains = {t.name: t.gain.estimate for t in found.candidates if t.gain is not None}
        retrained = {reason.code for reason in found.reasons} & {"UC801", "UC804"}
        if retrained and (not gain or max(gains, key=gains.get) == "true"):
            counts["retrained"] += 1
            counts["confirmed"] += found.verdict == "change"
        counts["open keep"] += found.verdict == "keep" and open_finalists(found) > 0
    power = counts["confirmed"] / counts["retrained"]
    return {name: number / PILOTS for name, number in counts.items()} | {"power": power}


@pytest.mark.slow
def test_a_change_that_gains_nothing_is_rarely_recommended():
    found = chances(0.0)
    assert found["change"] <= 0.03
    assert found["open keep"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(("gain", "least"), [(0.05, 0.5), (0.1, 0.95)])
def test_a_change_that_gains_is_confirmed(gain, least):
    found = chances(gain)
    assert found["power"] >= least
    assert found["change"] - found["right change"] <= 0.01
    assert found["open keep"] == 0
