"""Files whose headers declare what they do not hold."""

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors.numpy import save

# What a header may say of a tensor of (60, 5) float32 behind another of 480 bytes.
TENSORS: Mapping[str, Mapping[str, Any]] = {
    "shape of 10^12 rows": {"shape": [10**12, 5]},
    "shape beyond 64 bits": {"shape": [2**62, 4, 2**62]},
    "shape and span of 10^12 bytes": {
        "shape": [5 * 10**10, 5],
        "data_offsets": [480, 10**12 + 480],
    },
    "offsets beyond the file": {"data_offsets": [10**12, 10**12 + 1200]},
    "an overlap": {"data_offsets": [0, 1200]},
    "offsets backwards": {"data_offsets": [1680, 480]},
    "another span": {"shape": [60, 6]},
    "a wider type": {"dtype": "F64"},
}


def arrays() -> dict[str, Any]:
    """Small rows of three classes."""
    rows = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    return {"embedding": rows, "label": np.repeat([0, 1, 2], 20)}


def safetensors_file(name: str, tensors: Mapping[str, Any], said: Mapping[str, Any]) -> bytes:
    """Tensors, of which the one of that name is declared otherwise."""
    data = save(dict(tensors))
    size = struct.unpack("<Q", data[:8])[0]
    head = json.loads(data[8 : 8 + size])
    text = json.dumps(head | {name: head[name] | said}).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def npy_file(kind: str, shape: str, values: bytes = b"") -> bytes:
    """An array as its header says, and these values."""
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + values


def npz_file(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def parquet_file(rows: int, said: int, places: slice) -> bytes:
    """A plain table of numbers, `with_counts`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    random, buffer = np.random.default_rng(0), io.BytesIO()
    columns = {f"e{k}": random.normal(size=rows) for k in range(5)}
    table = pa.table(columns | {"label": np.arange(rows) % 3})
    pq.write_table(table, buffer, compression="none", use_dictionary=False, write_statistics=False)
    return with_counts(buffer.getvalue(), rows, said, places)


def with_counts(data: bytes, rows: int, said: int, places: slice) -> bytes:
    """A parquet file whose footer declares another number of rows at some of the places: the
    file's is the first, the row group's the last, those of the columns are between."""
    size = struct.unpack("<I", data[-8:-4])[0]
    first, *pieces = data[-8 - size : -8].split(_variable(rows))
    counts = [rows] * len(pieces)
    counts[places] = [said] * len(counts[places])
    foot = first + b"".join(_variable(n) + p for n, p in zip(counts, pieces, strict=True))
    return data[: -8 - size] + foot + struct.pack("<I", len(foot)) + b"PAR1"


def _variable(number: int) -> bytes:
    """A positive number as thrift's compact protocol writes it."""
    left, made = number << 1, bytearray()
    while left > 127:
        made.append(left & 127 | 128)
        left >>= 7
    return bytes([*made, left])
