"""One mutant in a process of its own, forked from one that has imported everything.

The child has limits of time and memory, tells of every program that it starts, every module that
it runs from elsewhere and every pickle that it opens, and writes down how the command ended.
"""

import contextlib
import gc
import hashlib
import importlib
import io
import json
import os
import resource
import select
import shutil
import signal
import site
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from attacks.mutants import Mutant
from attacks.oracle import CHECKS
from attacks.subjects import Subject

# Seconds of processor time: what a user waits on a machine of their own. A command that waits for
# something that never comes uses none, and is ended by the clock on the wall.
SECONDS, WALL, BYTES = 20.0, 120.0, 2 << 30
# Programs and connections; "exec" is every module that runs, by its file.
FORBIDDEN = (
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "os.system",
    "os.spawn",
    "pty.spawn",
    "socket.connect",
    "pickle.find_class",
    "webbrowser.open",
    "urllib.Request",
    "ftplib.connect",
)


# What a pool's processes send each other.
OF_POOLS = ("concurrent.futures.", "multiprocessing.", "uncollapse.")


@dataclass
class Ending:
    """How a mutant ended; `faults` names what the oracle holds against it."""

    code: int | None = None
    seconds: float = 0.0  # of processor time, children included
    wall: float = 0.0
    megabytes: float = 0.0
    started: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    checked: str = "-"
    stdout: str = ""
    stderr: str = ""
    faults: dict[str, str] = field(default_factory=dict)


def _allowed_places() -> tuple[str, ...]:
    import uncollapse

    own = [str(Path(uncollapse.__file__).parent), str(Path(__file__).parents[1])]
    kept = [*site.getsitepackages(), *sysconfig.get_paths().values(), sys.base_prefix, sys.prefix]
    return tuple({*own, *kept, "<"})


def watched(log: list[str]) -> Any:
    """An audit hook that logs what must not happen, and a switch to end it."""
    places, on = _allowed_places(), [True]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not on[0]:
            return
        if event == "socket.connect" and isinstance(arguments[1], str | bytes):
            return  # a pool's own, to its processes
        if event == "pickle.find_class" and str(arguments[0]).startswith(OF_POOLS):
            return
        if event in FORBIDDEN and not str(arguments[0]).startswith("babel."):  # its own locales
            log.append(f"{event} {str(arguments)[:80]}")
        elif event == "exec" and not arguments[0].co_filename.startswith(places):
            log.append(f"exec {arguments[0].co_filename}")

    sys.addaudithook(hook)
    return on


def imported(subjects: list[Subject], room: Path, modules: tuple[str, ...]) -> None:
    """Import here these, and what the commands import late: each command, and `measure` with each
    kind of file, runs once in a child, which tells."""
    for name in modules:
        importlib.import_module(name)
    kinds = {(each.words[0], each.kind * (each.words[0] == "measure")): each for each in subjects}
    chosen = kinds.values()
    names: set[str] = set()
    for told, child in [
        _warmed(subject, room / f"warm-{number}") for number, subject in enumerate(chosen)
    ]:
        with os.fdopen(told) as file:
            names |= set(file.read().split())
        os.waitpid(child, 0)
    for name in sorted(names):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.freeze()


def _warmed(subject: Subject, place: Path) -> tuple[int, int]:
    """Where a child that runs a subject tells the modules that it has imported, and the child."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        with contextlib.suppress(BaseException):
            os.close(reader)
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(subject.folder, place)
            os.chdir(place)
            _command(subject.words, io.StringIO(), io.StringIO())
            with os.fdopen(writer, "w") as told:
                told.write(" ".join(sys.modules))
        os._exit(0)
    os.close(writer)
    return reader, child


def _command(words: tuple[str, ...], out: io.StringIO, error: io.StringIO) -> int:
    from command_line import called

    return called(words, out, error)


def command_here(
    words: tuple[str, ...],
    said: Path,
    changes: Callable[[], int],
    writer: int,
    bytes_each: int = 0,
) -> int:
    """Run a command in this process, which ends with it; what it said to a file, and how many
    changes it made to a pipe. With `bytes_each`, no file may be larger, as on a full disk."""
    for name in ("stdout", "stderr"):
        with contextlib.suppress(AttributeError, ValueError):
            getattr(sys, name).flush()
    out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(out, descriptor)
    if bytes_each:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_each, resource.RLIM_INFINITY))
    stdout, stderr = io.StringIO(), io.StringIO()
    code = 99
    try:
        code = _command(words, stdout, stderr)
    except BaseException:
        stderr.write(traceback.format_exc())
    os.write(writer, str(changes()).encode())
    if bytes_each:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    os.write(1, (stdout.getvalue() + stderr.getvalue()).encode("utf-8", "replace"))
    return code


def processor() -> float:
    """Seconds that this process and its ended children have used."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _hashes(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            found[str(path.relative_to(folder))] = "folder" if path.is_dir() else "special"
        else:
            found[str(path.relative_to(folder))] = hashlib.sha1(path.read_bytes()).hexdigest()
    return found


def _child(mutant: Mutant, place: Path, told: Path) -> None:
    """Run the command, and then the independent reading; write what came after each."""
    # Private memory: an engine that only reserves addresses (the renderer's) needs far more.
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (used + BYTES, used + BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS) + 1, int(SECONDS) + 5))
    os.chdir(place)
    os.environ["UNCOLLAPSE_DEBUG"] = "1"
    ending, out, error = Ending(), io.StringIO(), io.StringIO()
    on = watched(ending.started)
    began = time.monotonic()
    try:
        ending.code = _command(mutant.subject.words, out, error)
    except BaseException as raised:
        ending.code = 70
        frames = traceback.extract_tb(raised.__traceback__)
        own = [frame for frame in frames if "/uncollapse/" in frame.filename] or frames[-1:]
        at = f"{Path(own[-1].filename).name}:{own[-1].name}" if own else ""
        ending.faults["traceback"] = f"{type(raised).__name__} at {at}: {str(raised)[:120]}"
    ending.wall, ending.seconds = time.monotonic() - began, processor()
    ending.megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    on[0] = False
    ending.stdout, ending.stderr = out.getvalue()[-4000:], error.getvalue()[-4000:]
    told.write_text(json.dumps(asdict(ending)))
    if ending.code == 0 and mutant.subject.check:
        try:
            answer = json.loads(out.getvalue()) if "--json" in mutant.subject.words else None
            ending.checked = CHECKS[mutant.subject.check](place, mutant.subject.file, answer)
        except Exception as refused:
            ending.checked = f"unread: {type(refused).__name__} {str(refused)[:100]}"
    told.write_text(json.dumps(asdict(ending)))


def run(mutant: Mutant, room: Path) -> Ending:
    """The ending of a mutant, with its faults."""
    place, told = room / "place", room / "told.json"
    shutil.rmtree(place, ignore_errors=True)
    told.unlink(missing_ok=True)
    shutil.copytree(mutant.subject.folder, place, symlinks=True)
    mutant.write(place / mutant.subject.file)
    before = _hashes(place)
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setsid()
            devnull = os.open(os.devnull, os.O_RDWR)
            for descriptor in range(3):
                os.dup2(devnull, descriptor)
            _child(mutant, place, told)
        os._exit(0)
    handle = os.pidfd_open(child)
    ended, _, _ = select.select([handle], [], [], WALL)
    if not ended:
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(handle)
    ending = Ending(**json.loads(told.read_text())) if told.is_file() else Ending()
    after = _hashes(place)
    names = [name for name, digest in before.items() if after.get(name) != digest]
    ending.written = [n for n in names if not any(Path(n).match(p) for p in mutant.subject.outputs)]
    ending.faults |= _faults(ending, killed=not ended and ending.code is None, status=status)
    return ending


def _faults(ending: Ending, *, killed: bool, status: int) -> dict[str, str]:
    """What the oracle holds against an ending, besides a traceback."""
    faults = {}
    out_of_time = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU
    if killed:
        faults["slow"] = f"waits for {WALL:.0f} s or more"
    elif out_of_time or ending.seconds > SECONDS:
        faults["slow"] = f"{max(ending.seconds, SECONDS):.0f} s of processor time or more"
    elif ending.code is None:
        faults["died"] = f"status {status}"
    if ending.megabytes > BYTES / (1 << 20):
        faults["memory"] = f"{ending.megabytes:.0f} MB"
    if ending.started:
        faults["started"] = ending.started[0]
    if ending.written:
        faults["overwritten"] = ", ".join(ending.written[:3])
    if ending.code == 3:
        last = [line for line in ending.stderr.splitlines() if line.strip()]
        faults["traceback"] = " | ".join(last[-3:])[-300:]
    elif ending.code not in (0, 2, None, 70):
        faults["exit code"] = str(ending.code)
    errors = [line for line in ending.stderr.splitlines() if line.startswith("uncollapse: error: ")]
    if ending.code == 2 and (len(errors) != 1 or not ending.stderr.endswith(f"{errors[0]}\n")):
        faults["sentence"] = f"{len(errors)} sentences: {ending.stderr[-200:]!r}"
    if any(
        (ord(c) < 32 and c not in "\n\t") or c in "\x7f\x85\u2028\u202e\u2066"
        for c in ending.stderr + ending.stdout
    ):
        faults["control"] = repr(ending.stderr[-120:])
    if ending.code == 0 and ending.checked not in ("", "-"):
        faults["number"] = ending.checked
    return faults
