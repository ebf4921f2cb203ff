"""The chart of a pilot's trials."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from uncollapse.report.charts.look import SIDES, Row, Spec, finished, ordered, tooltips, values
from uncollapse.report.language import Language


def trial_chart(trials: Sequence[Row], seeds: Sequence[Row], words: Language) -> Spec | None:
    """Predicted variance against the objective; single seeds as small dots.

    Rows hold "name", "trial", "role", "predicted", "objective" (None without runs) and "task".
    """
    means = [row for row in trials if row["objective"] is not None]
    if not means:
        return None
    x = alt.X("predicted:Q").title(words.say("axis.predicted-variance"))
    x = x.axis(tickCount=6, format="~g")
    y = alt.Y("objective:Q").title(words.say("axis.objective"))
    y = y.axis(format="%", tickCount=6).scale(zero=False, padding=14)
    kinds = ordered(trials, "role")
    colour = alt.Color("role:N").title(None).scale(domain=kinds, range=SIDES[: len(kinds)])
    tip = tooltips(
        words,
        ("name:N", "column.change"),
        ("predicted:Q", "axis.predicted-variance", ".3~g"),
        ("objective:Q", "axis.objective", ".1%"),
        ("task:Q", "column.task", ".1%"),
    )
    dots = [
        alt.Chart(values(seeds)).mark_point(filled=True, size=18, opacity=0.7),
        alt.Chart(values(means)).mark_point(filled=True, size=110, opacity=1, stroke="white"),
    ]
    # Names stand above and below their dots in turn, so that neighbours meet less often.
    ranked = sorted(means, key=lambda row: row["predicted"])
    names = [
        alt.Chart(values(ranked[side::2])).mark_text(align="left", dx=6, dy=dy, fontSize=11)
        for side, dy in ((0, -12), (1, 14))
    ]
    chart = alt.layer(
        *(layer.encode(x=x, y=y, color=colour, tooltip=tip) for layer in dots),
        *(layer.encode(x=x, y=y, text="trial:N") for layer in names),
    )
    return finished(chart, description=words.say("section.pilot"), height=300)
