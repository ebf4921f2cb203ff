"""Where something was computed: command, code, machine."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from uncollapse.records import scalars
from uncollapse.records.codec import Part

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
            system=platform.platform(),
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
    """As Linux names it, else as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _commit(folder: Path) -> str:
    """The commit that is checked out, from the files of git; no program is started."""
    try:
        top = next(
            (at / ".git" for at in (folder, *folder.parents) if (at / ".git").exists()), None
        )
        if top is None:
            return ""
        if top.is_file():  # a linked work tree
            top = folder / top.read_text("utf-8").removeprefix("gitdir:").strip()
        head = (top / "HEAD").read_text("utf-8").strip()
        if not head.startswith("ref:"):
            return head[:40]
        name = head.removeprefix("ref:").strip()
        common = top / "commondir"
        base = top / common.read_text("utf-8").strip() if common.is_file() else top
        if (base / name).is_file():
            return (base / name).read_text("utf-8").strip()[:40]
        packed = (base / "packed-refs").read_text("utf-8").splitlines()
        lines = (line.partition(" ") for line in packed)
        return next((commit[:40] for commit, _, ref in lines if ref.strip() == name), "")
    except (OSError, UnicodeDecodeError):
        return ""
