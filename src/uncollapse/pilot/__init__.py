"""The pilot: which smallest change prevents collapse, predicted first, proven by short runs."""

import sys
from types import ModuleType

from uncollapse.pilot.design import design
from uncollapse.pilot.options import PilotOptions, seconds_of
from uncollapse.pilot.pool import on_processes
from uncollapse.pilot.ray_pool import on_ray
from uncollapse.pilot.run import pilot
from uncollapse.pilot.trial import Candidate
from uncollapse.records import PilotResult, SettingChange

__all__ = [
    "Candidate",
    "PilotOptions",
    "PilotResult",
    "SettingChange",
    "design",
    "on_processes",
    "on_ray",
    "pilot",
    "seconds_of",
]


class _Room(ModuleType):
    """The room has its function's name, so `uncollapse.pilot` is both: called, it runs a pilot."""

    __call__ = staticmethod(pilot)


sys.modules[__name__].__class__ = _Room
