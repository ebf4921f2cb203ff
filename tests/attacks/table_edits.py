"""Edits of CSV text, of parquet and arrow tables, and of images."""

import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from attacks.bytes_edits import Edit, Random
from attacks.tree_edits import TEXTS, TREE, finished
from declared import with_counts

CELLS = (
    "",
    "NA",
    "nan",
    "inf",
    "-inf",
    "1e300",
    "1e-320",
    "-1",
    "1.0",
    "01",
    "true",
    "None",
    "1,5",
    "1 000",
    '"',
    '"open',
    "=cmd()",
    "9" * 30,
    "0x1F",
    "1e999",
    "１",
    "2024-01-01",
    "\x00",
    "\x1b[2J",
    "\ufeff",
    "x" * 3000,
    "-0",
    "1.",
    "+1",
    "1_0",
    "'",
    "a;b",
)


def csv_cell(data: bytes, random: Random) -> bytes:
    lines = [line.split(",") for line in data.decode().splitlines()]
    for _ in range(int(random.integers(1, 4))):
        line = lines[int(random.integers(1, len(lines)))]
        line[int(random.integers(len(line)))] = CELLS[int(random.integers(len(CELLS)))]
    return "\n".join(map(",".join, lines)).encode()


def csv_column(data: bytes, random: Random) -> bytes:
    lines = [line.split(",") for line in data.decode().splitlines()]
    place = int(random.integers(len(lines[0])))
    words = [CELLS[int(random.integers(len(CELLS)))] for _ in range(2)]
    for number, line in enumerate(lines[1:]):
        if random.random() < 0.9:
            line[place] = words[number % 2]
    return "\n".join(map(",".join, lines)).encode()


def csv_shape(data: bytes, random: Random) -> bytes:
    """Lines that are longer, missing, twice; a header that repeats or is missing."""
    lines = data.decode().splitlines()
    place = int(random.integers(len(lines)))
    ways: tuple[Callable[[], list[str]], ...] = (
        lambda: [*lines[:place], lines[place] + ",1", *lines[place + 1 :]],
        lambda: lines[1:],
        lambda: lines[:1],
        lambda: lines[:2],
        lambda: [lines[0], *lines],
        lambda: [lines[0].replace("e1", "e0"), *lines[1:]],
        lambda: [lines[0].replace("e0", "e9"), *lines[1:]],
        lambda: [*lines[:place], "", "", *lines[place:]],
        lambda: ["# comment", *lines],
        lambda: [line.replace(",", ";") for line in lines],
        lambda: [f"{line}," for line in lines],
        lambda: [line.replace(",", "\t") for line in lines],
        lambda: [lines[0].replace("label", ""), *lines[1:]],
        lambda: [",".join(lines[0].split(",") * 400), *lines[1:]],
        lambda: [lines[0].upper(), *lines[1:]],
        lambda: [f'"{line}' for line in lines],
        lambda: [lines[0].replace("label", "la\x1b[31mbel"), *lines[1:]],
    )
    return "\n".join(ways[int(random.integers(len(ways)))]()).encode()


def _columns(random: Random, rows: int) -> list[Any]:
    """Columns of every type that a table can hold."""
    k = np.arange(rows)
    return [
        pa.array(k % 3, pa.int8()),
        pa.array(k % 3, pa.uint64()),
        pa.nulls(rows),
        pa.array(k % 2 == 0),
        pa.array([None if i % 7 == 0 else int(i % 3) for i in k]),
        pa.array([str(i % 3) for i in k]),
        pa.array([TEXTS[i % 20].encode("utf-8", "replace").decode() for i in k]),
        pa.array([f"{i % 3}".encode() for i in k]),
        pa.array(k, pa.timestamp("us")),
        pa.array([[float(i), 1.0] for i in k]),
        pa.array([[1.0] * (i % 3) for i in k]),
        pa.array([None if i % 5 == 0 else [1.0, float(i)] for i in k]),
        pa.array([{"a": int(i)} for i in k]),
        pa.array([float("nan") if i % 9 == 0 else float(i) for i in k]),
        pa.array([1e300] * rows),
        pa.array([str(i % 3) for i in k]).dictionary_encode(),
        pa.array([[[1.0, float(i)]] for i in k]),
        pa.array(k % 3).cast(pa.decimal128(22, 2)),
        pa.array(np.full(rows, 2**63, np.uint64)),
        pa.array(np.random.default_rng(0).normal(size=rows).astype(np.float16)),
        pa.array([[None, 1.0]] * rows),
        pa.array([b"\xff\xfe"] * rows),
        pa.array([[]] * rows, pa.list_(pa.float32())),
        pa.array(k % 3)
        .cast(pa.date32().to_pandas_dtype() if False else pa.int32())
        .cast(pa.date32()),
        pa.array([[float(i)] * 5 for i in k], pa.list_(pa.float64(), 5)),
        pa.array(k - 2),
    ]


def _other_table(table: Any, random: Random) -> Any:
    place = int(random.integers(table.num_columns))
    name = table.column_names[place]
    columns = _columns(random, table.num_rows)
    column = columns[int(random.integers(len(columns)))]
    way = int(random.integers(8))
    if way < 4:
        return table.set_column(place, name, column)
    if way == 4:
        return table.drop_columns([name])
    if way == 5:
        return table.append_column(name, table.column(place))
    if way == 6:
        return table.slice(0, int(random.choice([0, 1, 2, 3])))
    names = [TEXTS[8 + k] if k == place else n for k, n in enumerate(table.column_names)]
    return table.rename_columns(names)


def _metadata(table: Any, random: Random) -> Any:
    """The JSON that Hugging Face or `uncollapse embed` wrote, edited as a tree."""
    noted = dict(table.schema.metadata or {})
    keys = [key for key in noted if key in (b"huggingface", b"uncollapse")]
    if not keys:
        return _other_table(table, random)
    key = keys[int(random.integers(len(keys)))]
    change = TREE[int(random.integers(len(TREE)))]
    noted[key] = finished(json.dumps(change(json.loads(noted[key]), random)))
    return table.replace_schema_metadata(noted)


def _parquet(change: Callable[[Any, Random], Any]) -> Edit:
    def edit(data: bytes, random: Random) -> bytes:
        buffer = io.BytesIO()
        file = pq.ParquetFile(io.BytesIO(data))  # whole, it believes what an edit has made it say
        table = pa.Table.from_batches(file.iter_batches(1000), file.schema_arrow)
        pq.write_table(change(table, random), buffer)
        return buffer.getvalue()

    edit.__name__ = change.__name__.strip("_")
    return edit


def footer_counts(data: bytes, random: Random) -> bytes:
    """Rows that are not there, or that nobody names."""
    rows = pq.ParquetFile(io.BytesIO(data)).metadata.num_rows
    said = int(random.choice(np.array([0, 1, 60, 2**31, 10**12, 2**62], dtype=object)))
    places = (slice(1), slice(1, None), slice(-1, None), slice(1, -1), slice(None))
    return with_counts(data, rows, said, places[int(random.integers(len(places)))])


def _arrow(change: Callable[[Any, Random], Any]) -> Edit:
    def edit(data: bytes, random: Random) -> bytes:
        table, buffer = change(pa.ipc.open_stream(data).read_all(), random), io.BytesIO()
        opened = pa.ipc.new_file if random.random() < 0.3 else pa.ipc.new_stream
        with opened(buffer, table.schema) as writer:
            writer.write_table(table)
        return buffer.getvalue()

    edit.__name__ = change.__name__.strip("_")
    return edit


def picture_format(data: bytes, random: Random) -> bytes:
    """The same picture in another mode or format under the old name."""
    image = Image.open(io.BytesIO(data))
    modes = ("L", "RGB", "RGBA", "P", "1", "I;16", "I", "F", "CMYK", "LA", "YCbCr")
    formats = (
        "PNG",
        "JPEG",
        "GIF",
        "BMP",
        "TIFF",
        "PPM",
        "ICO",
        "WEBP",
        "EPS",
        "PDF",
        "TGA",
        "IM",
        "MPO",
    )
    mode, kind = str(random.choice(modes)), str(random.choice(formats))
    size = [image.size, (1, 1), (3, 200), (64, 64)][int(random.integers(4))]
    image = image.resize(size)
    image = image.convert("L").convert("I").convert(mode) if mode == "I;16" else image.convert(mode)
    buffer = io.BytesIO()
    try:
        more = (
            [image.copy()]
            if random.random() < 0.3 and kind in ("GIF", "TIFF", "PNG", "MPO")
            else []
        )
        image.save(buffer, kind, **({"save_all": True, "append_images": more} if more else {}))
    except (OSError, ValueError, KeyError):
        image.convert("RGB").save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def picture_size(data: bytes, random: Random) -> bytes:
    """A header that declares more pixels than there are; its checksum is right."""
    sides = (0, 1, 9, 1000, 20000, 65535, 2**31 - 1)
    width, height = (int(random.choice(sides)) for _ in range(2))
    head = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


def picture_words(data: bytes, random: Random) -> bytes:
    """Other files that begin as pictures do."""
    words = (
        b"P6 99999 99999 255\n\x00",
        b"P5 8 8 65535\n" + bytes(128),
        b"P2 8 8 255 " + b"1 " * 64,
        b"P9 1 1",
        b"GIF89a\xff\xff\xff\xff\x00\x00\x00;",
        b"BM" + struct.pack("<IHHIIiiHH", 60, 0, 0, 54, 40, 60000, -60000, 1, 24),
        b"\xff\xd8\xff\xe0" + bytes(20),
        b"II*\x00\x08\x00\x00\x00\xff\xff",
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n",
        b"8BPS\x00\x01" + bytes(30),
        b"\x00\x00\x01\x00\xff\xff",
        b"<svg/>",
        b"%PDF-1.4\n",
        b"FWS" + bytes(20),
        b"\x89PNG\r\n\x1a\n",
    )
    return words[int(random.integers(len(words)))]


CSV = (csv_cell, csv_cell, csv_column, csv_shape)
PARQUET = (_parquet(_other_table), _parquet(_other_table), _parquet(_metadata), footer_counts)
ARROW = (_arrow(_other_table), _arrow(_metadata), _arrow(_metadata))
PICTURE = (picture_format, picture_format, picture_size, picture_words)
