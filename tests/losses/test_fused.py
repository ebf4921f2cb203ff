"""The fused kernels: numbers by Triton's interpreter, and what ptxas makes of them for a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fused_table import CASES, STEPS

pytest.importorskip("triton", reason="Triton comes with torch on Linux only")
pytestmark = pytest.mark.slow  # Triton's interpreter takes most of a minute

HERE = Path(__file__).parent


def in_a_process(script, *arguments, **environment):
    """What the script prints as JSON; apart, as whether Triton interprets is settled at import."""
    command = [sys.executable, str(HERE / script), *arguments]
    environment = os.environ | environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")  # some 50 s of CPU time
def interpreted():
    return in_a_process("fused_table.py", TRITON_INTERPRET="1")


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_are_those_of_the_definition(name, interpreted):
    found = interpreted["table"][name]
    tau = CASES[name][-1].get("temperature", 0.1)
    half = CASES[name][-1].get("dtype", "float32") != "float32"
    assert found["value"] < 1e-6 + 2e-7 / tau
    # In half precision the gradient itself is rounded; weights too where that is "fast".
    assert found["gradient"] < (6e-3 if half else 1e-6 + 2e-6 / tau)
    assert found.get("same bits", True)
    if "plain value" in found:  # not worse than a dense loss in that precision, plus 5e-4
        assert found["value"] <= found["plain value"] + 5e-4
        assert found["gradient"] <= found["plain gradient"] + 5e-4


def test_terms_temperature_gauge_and_refusals_are_those_of_the_others(interpreted):
    others = interpreted["others"]
    assert others["backend"] == "fused"
    assert abs(others["terms"][0]) < 1e-6
    assert abs(others["spread"]) < 1e-6
    assert others["slopes"][0] == pytest.approx(others["slopes"][1], rel=1e-5)
    assert "a zero vector in row 0" in others["at once"]
    assert others["in the call"] == "nothing"
    assert "a zero vector in an earlier batch" in others["later"]
    assert "instance 0 with labels 0 and 1" in others["two labels"]
    assert "found float64" in others["float64"]
    assert "one denominator" in others["two scopes"]


def test_of_any_size_it_starts_25_kernels_at_most_and_never_waits(interpreted):
    for given, (started, waits, _) in zip(STEPS, interpreted["others"]["steps"], strict=True):
        assert started <= 25, given
        assert waits == 0, given


def test_its_working_memory_is_linear(interpreted):
    """Up to 2^28 slopes exist at once; beyond, 1024 for each row (bfloat16, "exact": in two)."""
    for given, (_, _, largest) in zip(STEPS, interpreted["others"]["steps"], strict=True):
        rows, dimension = given[:2]
        of_row = max(4 * dimension, 4 * 1024)
        assert largest <= (of_row * rows if rows > 16384 else 2**30), given


def test_what_it_saves_for_the_backward_pass_is_linear(interpreted):
    assert interpreted["others"]["saved"] == [2 * 40 * 32 * 4, 2 * 80 * 32 * 4]


def test_it_gathers_from_uneven_processes():
    found = in_a_process("fused_gather.py", TRITON_INTERPRET="1")
    assert found["value"] < 1e-6
    assert found["gradient"] < 1e-5
    assert found["slope"] < 1e-5


# ptxas, 44 times
def test_ahead_of_time_there_are_no_spills_and_products_are_the_tensor_cores():
    kernels = in_a_process("fused_compiled.py", "bf16", "fp32")
    assert len(kernels) == 44
    for kernel in kernels:
        assert kernel["spilled"] == 0, kernel
        assert kernel["registers"] <= 255, kernel
        # Of a block: 163 KiB on 8.0, of which others before 9.0 have 99; 227 KiB on 9.0.
        assert kernel["shared"] <= (99 if kernel["capability"] == 80 else 227) * 1024, kernel
        if kernel["kernel"] in ("row_sums", "gradient", "slopes", "strips"):
            assert kernel["wgmma" if kernel["capability"] == 90 else "mma"] > 0, kernel
        if kernel["kernel"] not in ("lay_out", "project"):  # They make none.
            assert kernel["wgmma"] + kernel["mma"] > 0, kernel
