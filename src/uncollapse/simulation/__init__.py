"""What minimising the loss reaches (torch)."""

from uncollapse.records import Reached, SimulationOptions
from uncollapse.simulation._simulate import check_simulation, simulate

__all__ = ["Reached", "SimulationOptions", "check_simulation", "simulate"]
