"""What a step starts on a device, counted on any machine: kernels, and waits of the host."""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# A value or a shape that the host waits for.
_WAITS = {
    "_local_scalar_dense",
    "nonzero",
    "equal",
    "is_nonzero",
    "item",
    "masked_select",
    "unique_dim",
    "_unique2",
    "unique_consecutive",
    "repeat_interleave",
}
# Neither a view nor a kernel: memory, and what is asked about it.
_NOTHING = {
    "device",
    "empty",
    "empty_like",
    "new_empty",
    "empty_strided",
    "new_empty_strided",
    "detach",
    "_unsafe_view",
    "promote_types",
}


class Counted(TorchDispatchMode):
    """Count of operations that compute, by name, and of those that make the host wait.

    An operation whose result shares the memory of an operand without changing it (a view) starts
    nothing. An operation that is several kernels on a device (a sort) counts as one.
    """

    def __init__(self):
        super().__init__()
        self.kernels, self.waits = Counter(), Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in _WAITS or _indexes_by_flags(name, args):
            self.waits[name] += 1
        if not function.is_view and name not in _NOTHING:
            self.kernels[name] += 1
        return function(*args, **(kwargs or {}))


def _indexes_by_flags(name, args):
    if name not in ("index", "index_put", "index_put_"):
        return False
    return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
