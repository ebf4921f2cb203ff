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

from uncollapse.pilot._plan import seconds_of, seconds_per_epoch
from uncollapse.pilot.design import design
from uncollapse.pilot.free import Free
from uncollapse.pilot.goal import choose_goal, objective
from uncollapse.pilot.jobs import Common, Job, read_once
from uncollapse.pilot.pool import Outcome, on_processes, on_ray
from uncollapse.pilot.run import pilot
from uncollapse.pilot.search import Seen, dial_features, propose
from uncollapse.pilot.work import StoppedError, Work
from uncollapse.records import PilotOptions, PilotResult, SettingChange

__all__ = [
    "Common",
    "Free",
    "Job",
    "Outcome",
    "PilotOptions",
    "PilotResult",
    "Seen",
    "SettingChange",
    "StoppedError",
    "Work",
    "choose_goal",
    "design",
    "dial_features",
    "objective",
    "on_processes",
    "on_ray",
    "pilot",
    "propose",
    "read_once",
    "seconds_of",
    "seconds_per_epoch",
]


class _Room(ModuleType):
    __call__ = staticmethod(pilot)


__signature__ = inspect.signature(pilot)
# The room under the function's name too: the two are one, in whatever order they are imported.
sys.modules[__name__].__class__ = _Room
globals()["pilot"] = sys.modules[__name__]
