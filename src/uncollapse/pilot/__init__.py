"""The pilot: which smallest change prevents collapse, predicted first, proven by short runs.

`uncollapse.pilot` is this room and its function at once: called, it runs a pilot.

Examples:
    >>> import uncollapse
    >>> callable(uncollapse.pilot)
    True
    >>> from pathlib import Path
    >>> from uncollapse.training import load_config
    >>> config = load_config(Path("digits.yaml"), ["loss.alpha=0"])  # doctest: +SKIP
    >>> uncollapse.pilot(config, Path("runs/pilot")).verdict  # doctest: +SKIP
    'change'
"""

import inspect
import sys
from types import ModuleType

from uncollapse.pilot._plan import seconds_of
from uncollapse.pilot.design import design
from uncollapse.pilot.goal import objective
from uncollapse.pilot.jobs import Common, Job
from uncollapse.pilot.pool import Outcome, on_processes, on_ray
from uncollapse.pilot.run import pilot
from uncollapse.pilot.search import Seen, dial_features, propose
from uncollapse.records import PilotOptions, PilotResult, SettingChange

__all__ = [
    "Common",
    "Job",
    "Outcome",
    "PilotOptions",
    "PilotResult",
    "Seen",
    "SettingChange",
    "design",
    "dial_features",
    "objective",
    "on_processes",
    "on_ray",
    "pilot",
    "propose",
    "seconds_of",
]


class _Room(ModuleType):
    __call__ = staticmethod(pilot)


__signature__ = inspect.signature(pilot)
# The room under the function's name too: the two are one, in whatever order they are imported.
sys.modules[__name__].__class__ = _Room
globals()["pilot"] = sys.modules[__name__]
