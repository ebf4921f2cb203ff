"""The fused kernels compiled for GPUs that need not be there: what ptxas says of them, as JSON.

python tests/losses/fused_compiled.py bf16 fp16 fp32
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from uncollapse.losses._engine.fused import gradient_kernels, value_kernels
from uncollapse.losses._engine.fused.tilings import tilings

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
POINTERS = dict.fromkeys(
    ("labels", "instances", "order", "by_instance", "counts", "totals"), "*i64"
)
POINTERS |= dict.fromkeys(("ranges", "place", "own"), "*i32")
INTEGERS = ("R", "N", "d", "row", "bits", "blocks", "parts", "strip")
NUMBERS = ("tau", "scale", "smallest", "for_class", "for_views")
SCALARS = dict.fromkeys(INTEGERS, "i32") | dict.fromkeys(NUMBERS, "fp32")
# What costs most registers: shifts, and two operands (bfloat16 has them for weights: SPLIT).
FLAGS = dict.fromkeys(("COLD", "NORMALIZE", "EXACT"), True)
FLAGS |= dict.fromkeys(("WITH_ITSELF", "PAIRS", "TOGETHER", "CONFLICTS", "WIDE"), False)
OF_PRODUCTS = ("row_sums", "denominators", "pair_gradient", "gradient", "slopes", "strips")
KERNELS = (*OF_PRODUCTS, "lay_out", "project")
GATHERED = ("gradient", "slopes", "strips")  # Also for rows of one of several processes.


def compiled(name, dtype, capability, symmetric):
    """The kernel of a large batch of 128 or more dimensions, as `tilings` cuts it."""
    kernel = getattr(value_kernels, name, None) or getattr(gradient_kernels, name)
    device = divmod(capability, 10)
    cut = tilings(65536, 128, DTYPES[dtype], device, symmetric=symmetric)[name]
    constants = FLAGS | {"SPLIT": dtype == "bf16", "SYMMETRIC": symmetric} | cut.shape
    constants = {name: value for name, value in constants.items() if name in kernel.arg_names}
    types = dict.fromkeys(("x", "embeddings"), f"*{dtype}")
    types |= POINTERS | SCALARS | dict.fromkeys(constants, "constexpr")
    types |= dict.fromkeys(("entries", "rest"), "*bf16" if dtype == "bf16" else "*fp32")
    signature = {name: types.get(name, "*fp32") for name in kernel.arg_names}
    # As of allocated memory, and of dimensions that are a multiple of 16.
    aligned = [
        number
        for number, (name, kind) in enumerate(signature.items())
        if kind.startswith("*") or name in ("d", "strip")
    ]
    attributes = {(number,): [["tt.divisibility", 16]] for number in aligned}
    source = ASTSource(kernel, signature, constants, attributes)
    build = {"num_warps": cut.num_warps, "num_stages": cut.num_stages}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=build)


def facts(name, dtype, capability, symmetric=True):
    """What ptxas says, and which instructions there are."""
    made = compiled(name, dtype, capability, symmetric)
    code = made.asm["ptx"]
    architecture = re.search(r"\.target (\w+)", code).group(1)
    ptxas = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(code)
        command = [ptxas, "-v", f"--gpu-name={architecture}", path, "-o", Path(folder) / "cubin"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    spilled = map(int, re.findall(r"(\d+) bytes spill", said))
    return {
        "kernel": name,
        "dtype": dtype,
        "symmetric": symmetric,
        "capability": capability,
        "registers": int(re.search(r"Used (\d+) registers", said).group(1)),
        "spilled": sum(spilled),
        "shared": made.metadata.shared,
        "mma": code.count("mma.sync"),
        "wgmma": code.count("wgmma.mma_async"),
    }


if __name__ == "__main__":
    rows = [
        facts(name, dtype, capability, symmetric)
        for capability in (80, 90)
        for dtype in sys.argv[1:]
        for symmetric, names in ((True, KERNELS), (False, GATHERED))
        for name in names
    ]
    json.dump(rows, sys.stdout)
