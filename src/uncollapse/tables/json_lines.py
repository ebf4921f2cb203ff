"""Files of JSON lines: an object on each line, its keys the columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from uncollapse.errors import InputError
from uncollapse.samples import is_list
from uncollapse.tables._unpacked import PACKED, unpacked
from uncollapse.tables.arrow import TableShard

# Lines are parsed so many bytes at a time, and none may be longer.
_BLOCK = 1 << 24
# The parser calls itself for every bracket in a bracket; vectors of views need three.
_DEEPEST = 64
_OPENING, _CLOSING = b"[{", b"]}"
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"')
# Of so many bytes the types of the columns are found out.
_FIRST = 1 << 20


class JsonLinesShard(TableShard):
    """A file of JSON lines.

    Vectors are lists of numbers. Labels and ids are what the first rows have, text or numbers, and
    of one type in all rows; text stays as it is written, dates too.
    """

    kind = "table of JSON lines"

    @property
    def size(self) -> float:
        """Packed text takes a few times its file."""
        return super().size * (5 if self.path.suffix.lower() in PACKED else 1)

    def _blocks(self) -> Iterator[bytes]:
        """Whole lines, some at a time."""
        rest = b""
        with unpacked(self.path) or self.path.open("rb") as file:
            while piece := file.read(_BLOCK):
                piece = rest + piece
                cut = piece.rfind(b"\n") + 1
                if not cut and len(piece) > _BLOCK:
                    break
                rest = piece[cut:]
                if piece[:cut].strip():
                    yield piece[:cut]
        if len(rest) > _BLOCK:
            raise InputError(
                f"lines of at most {_BLOCK >> 20} MiB in {self.path}", "a longer one", "cut it"
            )
        if rest.strip():
            yield rest

    def _parsed(self, block: bytes, schema: Any = None) -> Any:
        import pyarrow as pa
        from pyarrow import json

        if _depth(block) > _DEEPEST and _depth(_TEXT.sub(b"", block)) > _DEEPEST:
            raise pa.ArrowInvalid(f"objects or lists more than {_DEEPEST} deep")
        given = {} if schema is None else {"explicit_schema": schema}
        more = {} if schema is None else {"unexpected_field_behavior": "ignore"}
        return json.read_json(
            pa.BufferReader(block),
            read_options=json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=json.ParseOptions(**given, **more),
        )

    def _open(self) -> Any:
        block = next(self._blocks(), None)
        if block is None:
            raise InputError(f"rows in {self.path}", "none", "give a file that holds embeddings")
        return self._parsed(block[: block.find(b"\n", _FIRST) + 1] or block)

    def _batches(self, vectors: Sequence[str], names: Sequence[str], batch: int) -> Iterator[Any]:
        import pyarrow as pa

        types = {name: _numbers(self.schema.field(name).type) for name in vectors}
        types |= {name: _name(self.schema.field(name).type) for name in names if name not in types}
        schema = pa.schema(list(types.items()))
        for block in self._blocks():
            yield from self._parsed(block, schema).to_batches()


def _depth(block: bytes) -> int:
    """The most brackets that are open at once, those in texts too."""
    steps = np.zeros(256, np.int8)
    steps[list(_OPENING)], steps[list(_CLOSING)] = 1, -1
    return int(steps[np.frombuffer(block, np.uint8)].cumsum(dtype=np.int32).max(initial=0))


def _numbers(kind: Any) -> Any:
    """The type of a vector: lists as deep as they are, of float64."""
    import pyarrow as pa

    return pa.list_(_numbers(kind.value_type)) if is_list(kind) else pa.float64()


def _name(kind: Any) -> Any:
    """The type of a name: a date is the text that it is written as."""
    import pyarrow as pa
    import pyarrow.types as kinds

    text = kinds.is_temporal(kind) or kinds.is_null(kind)
    return pa.string() if text else kind
