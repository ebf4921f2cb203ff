"""Files that are whole: written beside their place and then renamed; streams get theirs at once."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from uncollapse.errors import UNSHOWN, InputError

# The streams of this process by the names that shells have for them, and "-" for stdout.
_STREAMS = re.compile(r"/dev/fd/(\d+)|/proc/self/fd/(\d+)|/dev/std(out|err)|-")
_NUMBERS = itertools.count()
# Seconds after which a part whose process is not here is nobody's, on another machine either.
_LEFT = 60


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` at the end of the block.

    Folders above it are made; a reader never meets half a file, and what was there before stays
    until the new one is whole. Of a link, the file that it leads to is written. A stream ("-",
    /dev/stdout), a pipe that is being read and a device such as /dev/null get the whole file when
    it is written, and stay what they are. Refused where it cannot be written.
    """
    try:
        target = _target(path)
        if target is None:
            with tempfile.TemporaryDirectory() as folder:
                yield (part := Path(folder, path.name or "part"))
                _send(part, path)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name[:40]}.{os.getpid():x}-{next(_NUMBERS):x}.part")
        _sweep(target)
        try:
            yield part
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, part)
            part.replace(target)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and is_stream(path):
            raise  # who read it has left, and needs no sentence
        raise unwritable(path, error) from error


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Hold a folder alone until the end of the block, or of this process however it ends.

    Refused where another process holds it, or where it cannot be written to.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / "lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"no other {what} at work in {folder}", "one", "wait for it or stop it"
        ) from error
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def is_stream(path: Path) -> bool:
    """Whether a path is a stream of this process: "-", /dev/stdout, /dev/fd/3."""
    return _STREAMS.fullmatch(str(path)) is not None


def check_output(path: Path, read: Iterable[object] = ()) -> None:
    """Refuse, before anything is computed, a place that is no file, or a file that is read."""
    target = None if is_stream(path) else _target(path)
    if target is None or not target.exists():
        return
    for source in read:
        if isinstance(source, str | Path) and Path(source).exists() and target.samefile(source):
            raise InputError(
                "an output beside what is read", f"{path} for both", "choose another place with -o"
            )


def _target(path: Path) -> Path | None:
    """The regular file to write, behind links; None for what gets its bytes as they are."""
    if is_stream(path):
        return None
    try:
        target = path.resolve() if path.is_symlink() else path
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    except (OSError, RuntimeError) as error:  # a link that leads to itself
        raise unwritable(path, error) from error
    if stat.S_ISREG(mode):
        return target
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return None
    what = "the folder" if stat.S_ISDIR(mode) else "the socket or block device"
    raise InputError("a file to write", f"{what} {path}", "give a file name with -o")


def _send(part: Path, path: Path) -> None:
    """Bytes of a whole file to a stream, a pipe or a device."""
    match = _STREAMS.fullmatch(str(path))
    if match is not None:
        number = int(match[1] or match[2] or (2 if match[3] == "err" else 1))
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        opened = os.dup(number)
    else:
        # Without a reader a pipe is refused at once; with one it is waited for as any other.
        try:
            opened = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            what = f"somebody who reads the pipe {path}", "nobody", "start the reader first"
            raise InputError(*what) from error
        os.set_blocking(opened, True)
    with os.fdopen(opened, "wb") as stream, part.open("rb") as file:
        shutil.copyfileobj(file, stream)


def _sweep(target: Path) -> None:
    """Remove what processes of this machine that were killed left beside the target."""
    prefix, now = f".{target.name[:40]}.", time.time()
    for left in target.parent.iterdir() if target.parent.is_dir() else ():
        match = re.fullmatch(r"([0-9a-f]+)-[0-9a-f]+\.part", left.name.removeprefix(prefix))
        if match is None or not left.name.startswith(prefix) or _lives(int(match[1], 16)):
            continue
        with suppress(OSError):
            if now - left.stat().st_mtime > _LEFT:
                left.unlink()


def _lives(process: int) -> bool:
    if os.name == "nt":  # where to ask is to kill
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with beside(path) as part:
        part.write_bytes(text.encode("utf-8", "backslashreplace"))


def json_text(content: Any, indent: int | None = 2) -> str:
    """Strict JSON in which no character is one that a terminal obeys or nobody sees."""
    text = json.dumps(content, indent=indent, allow_nan=False, ensure_ascii=False)
    return UNSHOWN.sub(lambda match: match[0] if match[0] == "\n" else escaped(match[0]), text)


def escaped(text: str) -> str:
    """Characters as JSON's escapes, which any encoding can hold."""
    return json.dumps(text)[1:-1]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write strict JSON whole."""
    write_text(path, json_text(content))


def unwritable(path: Path, error: Exception) -> InputError:
    """The error for a place that cannot be written to."""
    return InputError(
        f"room and permission to write {path}",
        getattr(error, "strerror", None) or str(error),
        "free some space or choose another place with -o; what was saved before is whole",
    )
