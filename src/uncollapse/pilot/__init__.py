"""The pilot: which smallest change prevents collapse, predicted first, proven by short runs."""

from uncollapse.pilot.design import Candidate, Change, design
from uncollapse.pilot.options import PilotOptions, seconds_of
from uncollapse.pilot.pool import on_processes
from uncollapse.pilot.ray_pool import on_ray
from uncollapse.pilot.record import PilotResult
from uncollapse.pilot.run import pilot

__all__ = [
    "Candidate",
    "Change",
    "PilotOptions",
    "PilotResult",
    "design",
    "on_processes",
    "on_ray",
    "pilot",
    "seconds_of",
]
