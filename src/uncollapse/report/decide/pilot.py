"""The first screen of a pilot, from its record; what the record lacks is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uncollapse.metrics import Reason
from uncollapse.report.messages import Message, estimate
from uncollapse.report.read.pilot_parts import changes_of, compared_of, trials_of

__all__ = ["pilot_parts", "seconds_of"]

VERDICTS = ("change", "keep", "cannot-tell")


def seconds_of(pilot: Mapping[str, Any]) -> float:
    """Seconds of all trials."""
    return sum(float(one.get("seconds") or 0.0) for one in trials_of(pilot))


def pilot_parts(pilot: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Decision` but its basis."""
    recommended = pilot.get("recommendation")
    recommended = recommended if isinstance(recommended, Mapping) else None
    verdict = str(pilot.get("verdict"))
    verdict = verdict if verdict in VERDICTS else "cannot-tell"
    confirmed = (recommended or {}).get("confirmed") or {}
    gain = estimate(confirmed.get("gain")) or estimate((recommended or {}).get("gain"))
    if verdict == "change" and gain is None:
        verdict = "cannot-tell"
    return {
        "verdict": verdict,
        "headline": Message(
            f"headline.pilot-{verdict}",
            {"gain": gain, "layer": pilot.get("layer") or "", "count": len(trials_of(pilot))},
        ),
        "reasons": tuple(
            Reason(str(one.get("code") or ""), str(one["text"]), "", "")
            for one in pilot.get("reasons") or ()
            if isinstance(one, Mapping) and one.get("text")
        ),
        "changes": changes_of(recommended),
        "change": (Message(f"change.pilot-{verdict}", {"config": _config(recommended)}),),
        "gain": tuple(_gains(pilot, recommended, confirmed)),
        "cost": tuple(_costs(pilot, recommended, confirmed)),
        "certainty": tuple(_certainty(pilot, confirmed)),
    }


def _config(recommended: Mapping[str, Any] | None) -> str:
    return str((recommended or {}).get("config") or "recommended.yaml")


def _gains(
    pilot: Mapping[str, Any], recommended: Mapping[str, Any] | None, confirmed: Mapping[str, Any]
) -> list[Message]:
    found = []
    if (gain := estimate((recommended or {}).get("gain"))) is not None:
        found.append(Message("gain.pilot", {"gain": gain}))
    if (gain := estimate(confirmed.get("gain"))) is not None:
        split = str(confirmed.get("split") or "test")
        found.append(Message("gain.confirmed", {"gain": gain, "split": split}))
    best = compared_of(pilot)
    if not found and best is not None:
        gains = {str(one.get("name")): estimate(one.get("gain")) for one in trials_of(pilot)}
        found.append(Message("gain.best", {"name": best, "gain": gains[best]}))
    return found or [Message("gain.none")]


def _costs(
    pilot: Mapping[str, Any], recommended: Mapping[str, Any] | None, confirmed: Mapping[str, Any]
) -> list[Message]:
    found = []
    task = estimate(confirmed.get("task_change")) or estimate(
        (recommended or {}).get("task_change")
    )
    if task is not None:
        found.append(Message("cost.task", {"change": task}))
        if (margin := (recommended or {}).get("margin")) is not None:
            found.append(Message("cost.margin", {"margin": margin}))
    if spent := seconds_of(pilot):
        found.append(Message("cost.pilot", {"seconds": spent, "trials": len(trials_of(pilot))}))
    return found


def _certainty(pilot: Mapping[str, Any], confirmed: Mapping[str, Any]) -> list[Message]:
    found = []
    if confirmed:
        seeds = confirmed.get("seeds") or ()
        split = str(confirmed.get("split") or "test")
        found.append(Message("certainty.confirmed", {"seeds": len(seeds), "split": split}))
    statistics = pilot.get("statistics") or {}
    if statistics.get("family_size"):
        found.append(
            Message(
                "certainty.family",
                {
                    "family": int(statistics["family_size"]),
                    "level": statistics.get("level") or 0.95,
                },
            )
        )
    return [*found, Message("certainty.pilot-small")]
