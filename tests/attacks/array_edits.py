"""Edits of npy, npz, safetensors and gzipped idx files: headers, sizes, values, members."""

import gzip
import io
import json
import pickle
import re
import struct
import warnings
import zipfile
import zlib
from typing import Any

import numpy as np

from attacks.bytes_edits import Edit, Random
from attacks.tree_edits import TREE, finished


class _Trap:
    """Unpickled, it would leave a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (eval, ("open('owned', 'w')",))


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(parts: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")
        for name, part in parts.items():
            archive.writestr(name.removeprefix("@twice:"), part)
    return buffer.getvalue()


def saved(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, values, allow_pickle=True)
    return buffer.getvalue()


def loaded(data: bytes) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)


def values(array: np.ndarray, random: Random) -> np.ndarray:
    """Other numbers, of another type or shape."""
    ways = [
        lambda a: _holed(a, np.nan, random),
        lambda a: _holed(a, np.inf, random),
        lambda a: _holed(a, 1e300, random),
        lambda a: _holed(a, 1e-320, random),
        lambda a: _holed(a, 0.0, random),
        lambda a: _holed(a, -1, random),
        lambda a: a * 0,
        lambda a: a[:0],
        lambda a: a[:1],
        lambda a: a[:2],
        lambda a: a[0],
        lambda a: a[..., None],
        lambda a: a.T,
        lambda a: a[None],
        lambda a: a[:, :0] if a.ndim > 1 else a[:0],
        lambda a: np.concatenate([a, a]),
        lambda a: np.asfortranarray(a),
        lambda a: a.astype(">f8"),
        lambda a: a.astype(np.float16),
        lambda a: a.astype(np.longdouble),
        lambda a: a.astype(complex),
        lambda a: a.astype(np.int8),
        lambda a: a.astype(np.uint64),
        lambda a: a.astype(bool),
        lambda a: a.astype(str),
        lambda a: a.astype("S8"),
        lambda a: a.astype("M8[s]"),
        lambda a: a.astype("m8[s]"),
        lambda a: a.astype(object),
        lambda a: a.astype("V8"),
        lambda a: np.zeros(len(a), [("a", "f4"), ("b", "i4")]),
        lambda a: np.array(["x" * 5000] * len(a)),
        lambda a: np.array(["\ud800", "\x1b[31m"] * len(a))[: len(a)],
        lambda a: np.array(7),
        lambda a: np.arange(len(a)) % 2,
        lambda a: np.arange(len(a)),
        lambda a: np.full(len(a), 2**63, np.uint64),
        lambda a: np.full(a.shape, -1),
        lambda a: np.array([_Trap()] * len(a), dtype=object),
        lambda a: a * 1e300,
        lambda a: a.astype(float) * 1e-300,
        lambda a: np.resize(a, (len(a), 70000)),
    ]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ways[int(random.integers(len(ways)))](array)
        except (TypeError, ValueError, IndexError):
            return array[:3]


def _holed(array: np.ndarray, value: float, random: Random) -> np.ndarray:
    kind = np.result_type(array.dtype, np.float64) if array.dtype.kind in "iufb" else float
    changed = (
        np.resize(array, array.shape).astype(kind)
        if array.dtype.kind in "iufb"
        else np.zeros(array.shape)
    )
    changed[random.random(array.shape) < random.choice([0.01, 0.3])] = value
    return changed


def npy_header(data: bytes, random: Random) -> bytes:
    """Shape, type and order as the file does not hold them."""
    size = struct.unpack("<H", data[8:10])[0]
    header, rest = data[10 : 10 + size].decode("latin1"), data[10 + size :]
    shapes = (
        "(9999999999,)",
        "(10, 10000000000)",
        "(-1,)",
        "()",
        "(0,)",
        "(2, 0)",
        "(1.5,)",
        "('a',)",
        "(60, 5, 1, 1)",
        "[60, 5]",
        "(True,)",
        "(100000000, 2)",
        "(4611686018427387904, 4)",
        "(59, 5)",
        "(61, 5)",
        "(" + "1," * 70 + ")",
        "(" * 200 + ")" * 200,
        "(2**40,)",
        "None",
    )
    kinds = (
        "'|O'",
        "'<f4'",
        "'<f8'",
        "'<U100000000'",
        "'<U1'",
        "'|S0'",
        "'>f8'",
        "'<c16'",
        "'|V8'",
        "'<M8'",
        "'<i3'",
        "'nothing'",
        "[('a','<f4')]",
        "[('a','|O')]",
        "''",
        "None",
        "'<f8,<f8'",
        "__import__('os').system('touch owned')",
        "{'names':['a'],'formats':['f4'],'offsets':[99999]}",
    )
    way = int(random.integers(5))
    if way == 0:
        header = re.sub(r"'shape': .*?\)", lambda _: f"'shape': {random.choice(shapes)}", header)
    elif way == 1:
        header = re.sub(r"'descr': '.*?'", lambda _: f"'descr': {random.choice(kinds)}", header)
    elif way == 2:
        header = header.replace("False", str(random.choice(["True", "1", "'x'", "None"])))
    elif way == 3:
        header = re.sub(r", 'shape'.*", "}", header)
    else:
        header = "{" * int(random.choice([2, 90, 5000])) + header
    return data[:6] + b"\x02\x00" + struct.pack("<I", len(header)) + header.encode("latin1") + rest


def npy_values(data: bytes, random: Random) -> bytes:
    return saved(values(loaded(data), random))


def _member(edit: Edit) -> Edit:
    def inside(data: bytes, random: Random) -> bytes:
        parts = members(data)
        name = list(parts)[int(random.integers(len(parts)))]
        changed = parts | {name: edit(parts[name], random)}
        return packed(changed, int(random.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])))

    inside.__name__ = edit.__name__
    return inside


def npz_members(data: bytes, random: Random) -> bytes:
    """Members that are missing, twice, many, of other names, packed otherwise."""
    parts = members(data)
    name = list(parts)[int(random.integers(len(parts)))]
    odd = (
        "../x.npy",
        "/x.npy",
        "x",
        ".npy",
        "a/b.npy",
        "\x1b[31m.npy",
        "label.npy",
        "embedding.npy",
    )
    ways = [
        lambda: packed({key: part for key, part in parts.items() if key != name}),
        lambda: packed(parts | {f"@twice:{name}": next(iter(parts.values()))}),
        lambda: packed(parts | {f"c{k}.npy": parts[name] for k in range(3000)}),
        lambda: packed({str(random.choice(odd)) if k == name else k: p for k, p in parts.items()}),
        lambda: packed(parts | {name: b""}),
        lambda: packed(parts | {name: parts[name] + bytes(50_000_000)}, zipfile.ZIP_DEFLATED),
        lambda: packed(parts | {name: _bomb()}, zipfile.ZIP_DEFLATED),
        lambda: packed(parts, zipfile.ZIP_BZIP2),
        lambda: packed(parts, zipfile.ZIP_LZMA),
        lambda: b"MZ" + packed(parts),
        lambda: packed({}),
        lambda: packed({"a.txt": b"x"}),
    ]
    return ways[int(random.integers(len(ways)))]()


def _bomb() -> bytes:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (60, 200000), }\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(96_000_000)


def zip_fields(data: bytes, random: Random) -> bytes:
    """Sizes, flags, method and checksum of one entry of the directory."""
    places = [match.start() for match in re.finditer(b"PK\x01\x02", data)]
    if not places:
        return data
    place = places[int(random.integers(len(places)))]
    fields = {8: 2, 10: 2, 16: 4, 20: 4, 24: 4, 28: 2, 42: 4}
    offset = list(fields)[int(random.integers(len(fields)))]
    width, start = fields[offset], place + offset
    word = int(random.choice(np.array([0, 1, 99, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF], dtype=object)))
    return (
        data[:start] + (word % (1 << 8 * width)).to_bytes(width, "little") + data[start + width :]
    )


def header_json(data: bytes, random: Random) -> bytes:
    """The JSON head of a safetensors file, edited as a tree."""
    size = struct.unpack("<Q", data[:8])[0]
    tree = json.loads(data[8 : 8 + size])
    head = finished(json.dumps(TREE[int(random.integers(len(TREE)))](tree, random)))
    return struct.pack("<Q", len(head)) + head + data[8 + size :]


def header_length(data: bytes, random: Random) -> bytes:
    words = np.array([0, 1, 2**31, 2**40, 2**63, 2**64 - 1, len(data)], dtype=object)
    return struct.pack("<Q", int(random.choice(words))) + data[8:]


def header_shape(data: bytes, random: Random) -> bytes:
    """Offsets and shapes that agree with each other and not with the file."""
    size = struct.unpack("<Q", data[:8])[0]
    tree = json.loads(data[8 : 8 + size])
    names = [name for name in tree if name != "__metadata__"]
    entry = tree[names[int(random.integers(len(names)))]]
    shapes = ([10**9, 10], [2**40], [], [0], [-1], [60, 5, 1], [1] * 70, [2**63, 2])
    entry["shape"] = shapes[int(random.integers(len(shapes)))]
    if random.random() < 0.5:
        start = entry["data_offsets"][0]
        count = int(np.prod(np.array(entry["shape"], dtype=object)))
        entry["data_offsets"] = [start, start + 4 * count]
    if random.random() < 0.3:
        entry["dtype"] = str(
            random.choice(["F8_E4M3", "BF16", "F64", "BOOL", "U8", "I64", "X", "F4"])
        )
    head = json.dumps(tree).encode()
    return struct.pack("<Q", len(head)) + head + data[8 + size :]


def tensors(data: bytes, random: Random) -> bytes:
    from safetensors.numpy import load, save

    arrays = load(data)
    name = list(arrays)[int(random.integers(len(arrays)))]
    changed = values(arrays[name], random)
    if changed.dtype.kind not in "iufb" or changed.dtype.itemsize > 8:
        changed = arrays[name][::2]
    return save(
        arrays | {name: np.ascontiguousarray(changed.astype(changed.dtype.newbyteorder("=")))}
    )


def unzipped(edit: Edit) -> Edit:
    """An edit of what a gzip file holds."""

    def inside(data: bytes, random: Random) -> bytes:
        try:
            return gzip.compress(edit(gzip.decompress(data), random), 1)
        except (OSError, EOFError, zlib.error):
            return data

    inside.__name__ = edit.__name__
    return inside


def idx_header(data: bytes, random: Random) -> bytes:
    """Type, rank and sizes."""
    place = int(random.integers(0, 16))
    return data[:place] + random.bytes(4) + data[place + 4 :]


def trap(data: bytes, random: Random) -> bytes:
    """A pickle that would leave a file, as torch.save and as plain."""
    return pickle.dumps({"weight": _Trap()})


NPY = (npy_header, npy_header, npy_values, npy_values)
NPZ = (*map(_member, NPY), npz_members, npz_members, zip_fields)
SAFETENSORS = (
    header_json,
    header_json,
    header_length,
    header_shape,
    header_shape,
    tensors,
    tensors,
)
IDX = (unzipped(idx_header), unzipped(idx_header))
PICKLE = (trap,)
