"""What a step starts on a device, counted on any machine: kernels, and waits of the host."""

from collections import Counter
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
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
    nothing. An operation that is several kernels on a device (a sort) counts as one. And the bytes
    of the largest tensor that one of them makes.
    """

    def __init__(self):
        super().__init__()
        self.kernels, self.waits, self.largest = Counter(), Counter(), 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in _WAITS or _indexes_by_flags(name, args):
            self.waits[name] += 1
        if not function.is_view and name not in _NOTHING:
            self.kernels[name] += 1
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.largest = max(self.largest, made.untyped_storage().nbytes())
        return made


def _indexes_by_flags(name, args):
    if name not in ("index", "index_put", "index_put_"):
        return False
    return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])


def started_on_a_gpu(loss_of):
    """What a step on a GPU that need not be there starts, as `Counted`; nothing is computed.

    `loss_of` takes a function that makes an empty tensor of a shape and a dtype there. These are
    fake, so that whoever asks for a value of one is an error. The backward pass, which fake tensors
    of an absent GPU do not have, is one product, and what torch starts it by.
    """
    pretended = {"get_device_capability": lambda device: (9, 0)}
    pretended["is_current_stream_capturing"] = lambda: True  # Else facts are copied to the host.

    def empty(*shape, dtype):
        return torch.empty(shape, dtype=dtype, device="cuda", requires_grad=dtype.is_floating_point)

    with FakeTensorMode(), mock.patch.multiple(torch.cuda, **pretended), Counted() as counted:
        loss_of(empty)
    counted.kernels += Counter(ones_like=1, mul=1)
    return counted
