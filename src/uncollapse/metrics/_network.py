"""A measurement beside what is expected of a network like its own."""

from __future__ import annotations

from collections.abc import Iterator

from uncollapse.records import Estimate, NetworkPrediction, Reason, Value


def beside_network(
    network: NetworkPrediction, within: Estimate, layer: str | None
) -> Iterator[Reason]:
    """Where the variance inside classes lies beside the expected one, and under which conditions.

    As sampling leaves it open where there is an interval. It is not compared with the expected one
    of another layer.
    """
    if within.estimate is None:
        return
    values: dict[str, Value] = {"measured": within, "confidence": network.confidence}
    expected = network.within_class_variance
    values |= {"expected": expected.estimate, "low": expected.low, "high": expected.high}
    if layer is not None and layer != network.layer:
        yield Reason.from_code("UC511", "other-layer", **values, layer=layer, known=network.layer)
        return
    low, high = within.low, within.high
    if low is None or high is None:
        low = high = within.estimate
    yield Reason.from_code("UC511", expected.side(low, high), **values)
    for message in network.differs:
        variant = message.key.rpartition(".")[2]
        yield Reason.from_code("UC512", variant, **message.values)
