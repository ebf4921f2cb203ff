"""What minimising the loss reaches (torch)."""

from uncollapse.simulation.simulate import (
    Reached,
    SimulationOptions,
    check_simulation,
    simulate,
)

__all__ = [
    "Reached",
    "SimulationOptions",
    "check_simulation",
    "simulate",
]
