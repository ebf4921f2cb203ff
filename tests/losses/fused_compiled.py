"""The fused kernels compiled for GPUs that need not be there: what ptxas says of them, as JSON.

python tests/losses/fused_compiled.py bf16 fp16 fp32
"""

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from uncollapse.losses._engine import kernels
from uncollapse.losses._engine.fused import tilings

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
POINTERS = {"labels": "*i64", "instances": "*i64"} | dict.fromkeys(
    ("class_counts", "view_counts", "conflicts"), "*i32"
)
SCALARS = dict.fromkeys(("first", "R", "N", "d"), "i32") | {"tau": "fp32"}
# A dimension for which the gradient takes several programs.
DIMENSION = 768


def compiled(kernel, dtype, capability):
    """The kernel, exact, of shapes that `tilings` gives."""
    for_sums, for_gradient, width = tilings(DIMENSION, DTYPES[dtype])
    cut = asdict(for_sums if kernel is kernels.row_sums else for_gradient)
    build = {name: cut.pop(name) for name in ("num_warps", "num_stages")}
    constants = {"WITH_ITSELF": False, "EXACT": True, "WIDE": False, "NORMALIZE": True, "BD": width}
    constants = {k: v for k, v in (constants | cut).items() if k in kernel.arg_names}
    types = {"x": f"*{dtype}"} | POINTERS | SCALARS | dict.fromkeys(constants, "constexpr")
    signature = {name: types.get(name, "*fp32") for name in kernel.arg_names}
    # As of allocated memory, and of dimensions that are a multiple of 16.
    aligned = [
        number
        for number, (name, kind) in enumerate(signature.items())
        if kind.startswith("*") or name == "d"
    ]
    attributes = {(number,): [["tt.divisibility", 16]] for number in aligned}
    source = ASTSource(kernel, signature, constants, attributes)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=build)


def facts(kernel, dtype, capability):
    """What ptxas says, and which instructions there are."""
    made = compiled(kernel, dtype, capability)
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
        "kernel": kernel.__name__,
        "dtype": dtype,
        "capability": capability,
        "registers": int(re.search(r"Used (\d+) registers", said).group(1)),
        "spilled": sum(spilled),
        "shared": made.metadata.shared,
        "mma": code.count("mma.sync"),
        "wgmma": code.count("wgmma.mma_async"),
    }


if __name__ == "__main__":
    rows = [
        facts(kernel, dtype, capability)
        for capability in (80, 90)
        for dtype in sys.argv[1:]
        for kernel in (kernels.row_sums, kernels.gradient)
    ]
    json.dump(rows, sys.stdout)
