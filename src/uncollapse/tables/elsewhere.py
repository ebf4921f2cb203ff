"""Rows from the standard input and from URLs: copied to a file of this machine, then read."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from uncollapse.errors import InputError
from uncollapse.tables._shard import Array, Shard
from uncollapse.tables.hive import DEEPEST, KeyedShard, keys_of

STDIN = Path("-")
# Schemes, and the packages that fsspec needs for them.
_SCHEMES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "hf": "huggingface_hub",
    "https": "aiohttp",
    "http": "aiohttp",
    "az": "adlfs",
    "abfs": "adlfs",
    "memory": "",
    "file": "",
}
# pathlib makes one of the two slashes.
_URL = re.compile(r"([a-z][a-z0-9]*):/{1,3}(.+)", re.DOTALL)
_PIECE = 1 << 24
_LEFT_FREE = 1 << 30


def is_elsewhere(path: str | Path) -> bool:
    """Whether a path is the standard input ("-"), or a URL that fsspec knows."""
    match = _URL.fullmatch(str(path))
    known = match is not None and match[1] in _SCHEMES
    return str(path) == "-" or (known and not Path(path).exists())


def refuse_other_scheme(path: str | Path) -> None:
    """Refuse an address of a scheme that is not read, which as a path is nowhere."""
    match = _URL.fullmatch(str(path))
    if match is not None and len(match[1]) > 1 and match[1] not in _SCHEMES:
        schemes = ", ".join(f"{scheme}://" for scheme in _SCHEMES if scheme != "memory")
        raise InputError(
            f"a file, or an address at {schemes}", f"{match[1]}://", "copy it to a file first"
        )


class _Address(type(Path())):  # type: ignore[misc]  # of the class of this system's paths
    """A URL where a path is expected, shown with both of its slashes."""

    def __str__(self) -> str:
        shown: str = super().__str__()
        return shown.replace(":/", "://", 1)


class CopiedShard(Shard):
    """A file that was copied here; errors call it by where it came from."""

    def __init__(self, inside: Shard, origin: Path) -> None:
        self._inside, self.path = inside, origin
        self.columns, self.rows, self.classes = inside.columns, inside.rows, inside.classes
        self.untyped = inside.untyped  # type: ignore[misc]  # of the class elsewhere

    def is_untyped(self, name: str) -> bool:
        """As in the file."""
        return self._inside.is_untyped(name)

    @property
    def about(self) -> str:
        """As in the file."""
        return self._inside.about

    @property
    def size(self) -> float:
        """That of the file."""
        return self._inside.size

    @property
    def stored(self) -> Shard:
        """What is in it."""
        return self._inside.stored

    def fingerprint(self) -> tuple[int, str]:
        """Those of the copy."""
        return self._inside.fingerprint()

    def read(
        self, vectors: Sequence[str], names: Sequence[str], batch: int, fill_ragged: bool = False
    ) -> Iterator[dict[str, Array]]:
        """Rows in order."""
        with _called(self._inside.path, self.path):
            yield from self._inside.read(vectors, names, batch, fill_ragged)


@contextmanager
def _called(file: Path, origin: Path) -> Iterator[None]:
    """Errors about a copied file as errors about where it came from."""
    try:
        yield
    except InputError as error:
        parts = (error.expected, error.found, error.remedy)
        raise InputError(*(part.replace(str(file), str(origin)) for part in parts)) from error


def open_elsewhere(path: str | Path, opened: Callable[[Path], Shard]) -> list[Shard]:
    """The file on the standard input, or the files of a URL, each copied and then `opened`.

    Raises:
        InputError: Nothing there, a scheme whose package is not installed, no room for the copy.
    """
    if str(path) == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError(
                "rows on the standard input", "a terminal", "pipe a file to it, or name one"
            )
        return [_copied(sys.stdin.buffer, Path("stdin"), opened)]
    shards = []
    with _asked(str(path)) as (system, root, names):
        for name in names:
            origin = _Address(_shown_url(name, str(path)))
            with system.open(name, "rb") as file:
                shard = _copied(file, origin, opened)
            inside = name != root and "*" not in root
            keys = keys_of(Path(_bare(name)), Path(_bare(root))) if inside else {}
            shards.append(KeyedShard(shard, keys) if keys else shard)
    return shards


@contextmanager
def _asked(path: str) -> Iterator[tuple[Any, str, list[str]]]:
    """The file system of a URL, its path there, and the files that it means."""
    scheme, rest = _URL.fullmatch(path).groups()  # type: ignore[union-attr]  # the caller asked
    package = _SCHEMES[scheme]
    try:
        import fsspec

        url = f"{scheme}://{'/' * (scheme == 'file')}{rest}"
        system, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        wanted = " and ".join(dict.fromkeys(["fsspec", package])) if package else "fsspec"
        raise InputError(
            f"{wanted}, which read {scheme}:// addresses",
            f"an environment without {error.name or package}",
            f"pip install {wanted.replace(' and', '')}",
        ) from error
    try:
        yield system, root, _listed(system, root)
    except InputError:
        raise
    except Exception as error:  # every service raises its own
        if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, OSError):
            error = error.__cause__  # nobody answered, which fsspec calls a file that is not there
        reason = _without_secrets(" ".join(str(error).split()) or type(error).__name__)
        raise InputError(
            f"a file or folder that can be read at {_shown_url(root, path)}",
            f"{type(error).__name__}: {reason[:200]}",
            "check the address, and the credentials of its service in the environment",
        ) from error


def _listed(system: Any, root: str) -> list[str]:
    """The file itself, or those of a pattern or a folder that rows can be in, by their numbers."""
    if "*" in root:
        inside = [str(name) for name in system.glob(root)]
    elif system.isdir(root):
        inside = list(_inside(system, root))
    else:
        return [root]
    files = sorted((name for name in inside if Path(_bare(name)).suffix), key=_natural)
    if not files:
        raise InputError(f"files in {_shown_url(root, root)}", "none", "name the files")
    return files


def _inside(system: Any, root: str, depth: int = 0) -> Iterator[str]:
    """Files of a folder, and of those in it that are named for a value (label=cat)."""
    if depth > DEEPEST:
        raise InputError(f"folders at most {DEEPEST} deep", "more", "move them")
    for entry in system.ls(root, detail=True):
        name = str(entry["name"])
        last = _bare(name).rstrip("/").rpartition("/")[2]
        if entry["type"] == "directory":
            if "=" in last:
                yield from _inside(system, name, depth + 1)
        elif last[:1] not in ("", ".", "_"):
            yield name


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _bare(url: str) -> str:
    return url.partition("?")[0]


def _shown_url(name: str, given: str) -> str:
    """An address without what may be a secret: its query, and a name and password before the @."""
    scheme = _URL.fullmatch(given)
    bare = re.sub(r"(//?)[^/@]*@", r"\1", _bare(name))
    return bare if _URL.fullmatch(bare) or scheme is None else f"{scheme[1]}://{bare.lstrip('/')}"


def _without_secrets(text: str) -> str:
    return re.sub(r"(\?)\S+|(//)[^/@\s]*@", r"\1\2", text)


def _copied(source: IO[bytes], origin: Path, opened: Callable[[Path], Shard]) -> Shard:
    """The shard of what is read from a source, in a file that goes with the shard."""
    folder = Path(tempfile.mkdtemp(prefix="uncollapse-"))
    try:
        head = source.read(1 << 16)
        file = folder / f"rows{ending_by_content(head, origin)}"
        with file.open("wb") as copy:
            while head:
                copy.write(head)
                if shutil.disk_usage(folder).free < _LEFT_FREE:
                    raise InputError(
                        f"room for a copy of {origin} in {folder.parent}",
                        "less than 1 GiB left",
                        "set TMPDIR to a folder with more",
                    )
                head = source.read(_PIECE)
        with _called(file, origin):
            shard = CopiedShard(opened(file), origin)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(shard, shutil.rmtree, folder, ignore_errors=True)
    return shard


_BEGINNINGS = {
    b"PAR1": ".parquet",
    b"ARROW1": ".arrow",
    b"\xff\xff\xff\xff": ".arrow",
    b"\x93NUMPY": ".npy",
    b"PK\x03\x04": ".npz",
}
_PACKED = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst"}


def ending_by_content(head: bytes, origin: Path) -> str:
    """The ending that a file's first bytes say.

    Raises:
        InputError: There are none, or they are of no known format.
    """
    for beginning, ending in _BEGINNINGS.items():
        if head.startswith(beginning):
            return ending
    for beginning, ending in _PACKED.items():
        if head.startswith(beginning):
            return _ending_of_text(_unpacked(head, ending)) + ending
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 1 << 28:
        return ".safetensors"
    if not head.strip() or b"\0" in head:
        raise InputError(
            f"rows in a known format from {origin}",
            "nothing" if not head.strip() else "bytes of another",
            "give npy, npz, safetensors, parquet, arrow, CSV, TSV or JSON lines",
        )
    return _ending_of_text(head)


def _ending_of_text(head: bytes) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"{"):
        return ".jsonl"
    return ".tsv" if b"\t" in text.partition(b"\n")[0] else ".csv"


def _unpacked(head: bytes, ending: str) -> bytes:
    """The first bytes of what a packed file holds."""
    import pyarrow as pa

    if ending == ".gz":
        try:
            return zlib.decompressobj(31).decompress(head, 4096)
        except zlib.error:
            return b""
    try:
        return bytes(pa.CompressedInputStream(pa.BufferReader(head), "zstd").read(4096))
    except (pa.ArrowException, OSError):
        return b""
