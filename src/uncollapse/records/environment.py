"""Where something was computed: command, code, machine."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from uncollapse.records import scalars
from uncollapse.records.codec import Part

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
# What a number of threads is set by.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Environment(Part):
    """The machine and the code that computed something; "" for what could not be found.

    Attributes:
        command: As it was given; empty where it came from Python and not from a command line.
        commit: Of the git repository that holds the working directory.
        system: Operating system.
        processor: Its name.
        cores: That the process may use.
        gpu: Name of the accelerator that was used.
        threads: Variables that limit threads, and their values.
        versions: Of Python and of packages.

    Examples:
        >>> from uncollapse.records import Environment
        >>> Environment.now(("numpy",)).versions["numpy"] != ""
        True
    """

    command: tuple[str, ...] = ()
    commit: str = ""
    system: str = ""
    processor: str = ""
    cores: scalars.Count = 0
    gpu: str = ""
    threads: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def now(cls, packages: tuple[str, ...] = (), gpu: str = "") -> Environment:
        """Of this process."""
        first = sys.argv[0] if sys.argv else ""
        ours = Path(first).name in ("uncollapse", "__main__.py")
        return cls(
            command=("uncollapse", *sys.argv[1:]) if ours else (),
            commit=_commit(Path.cwd()),
            # As `platform.platform`, which would start a program for the processor.
            system=f"{platform.system()}-{platform.release()}-{platform.machine()}",
            processor=_processor(),
            cores=_cores(),
            gpu=gpu,
            threads={name: os.environ[name] for name in _THREADS if name in os.environ},
            versions={"python": platform.python_version()} | _versions(packages),
        )


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 0


def _processor() -> str:
    """As Linux names it, else as the system does; `platform.processor` starts a program, too."""
    named = os.environ.get("PROCESSOR_IDENTIFIER", "") or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return named
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, named)


def _commit(folder: Path) -> str:
    """The commit that is checked out, from the files of git; no program is started."""
    with suppress(OSError, UnicodeDecodeError):
        top = next(
            (at / ".git" for at in (folder, *folder.parents) if (at / ".git").exists()), None
        )
        if top is None:
            return ""
        if top.is_file():  # a linked work tree
            top = folder / _line(top).removeprefix("gitdir:").strip()
        head = _line(top / "HEAD")
        if head.startswith("ref:"):
            head = _referred(top, head.removeprefix("ref:").strip())
        # A stranger's repository may name any file: only what is a commit is taken.
        return head if _COMMIT.fullmatch(head) else ""
    return ""


def _referred(top: Path, name: str) -> str:
    """What a branch points to, in its own file or among the packed ones."""
    shared = _line(top / "commondir")
    base = top / shared if shared else top
    if found := _line(base / name):
        return found
    packed = base / "packed-refs"
    lines = packed.read_text("utf-8").splitlines() if packed.is_file() else []
    parts = (line.partition(" ") for line in lines)
    return next((commit for commit, _, ref in parts if ref.strip() == name), "")


def _line(path: Path) -> str:
    """The text of a small regular file; "" where there is none."""
    return path.read_text("utf-8").strip() if path.is_file() else ""
