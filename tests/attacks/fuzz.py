"""Mutants by the thousand on several processes: counts, findings, and what they shrink to."""

import json
import os
import resource
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from attacks.mutants import Mutant, mutant
from attacks.subjects import Subject
from attacks.worker import imported, run

FAULTS = (
    "traceback",
    "slow",
    "memory",
    "started",
    "overwritten",
    "number",
    "exit code",
    "sentence",
    "control",
    "died",
)
LIGHT = tuple(f"uncollapse.cli.{name}" for name in ("measure", "report", "probe", "predict"))
HEAVY = ("torch", "uncollapse.training", "uncollapse.pilot", "uncollapse.cli.train")
MOST = 4 << 30  # Bytes that a worker itself may need, to make a mutant.
SHRUNK = 2  # Findings of one kind that are made smaller.


@dataclass
class Tally:
    """What came of all mutants."""

    counts: Counter[str] = field(default_factory=Counter)
    by_kind: dict[str, Counter[str]] = field(default_factory=dict)
    findings: list[dict[str, str]] = field(default_factory=list)
    slowest: float = 0.0
    largest: float = 0.0

    def add(self, line: dict) -> None:
        kind = line["kind"]
        for counter in (self.counts, self.by_kind.setdefault(kind, Counter())):
            counter["mutants"] += 1
            counter["accepted" if line["code"] == 0 else "refused"] += line["code"] in (0, 2)
            counter["checked"] += line["checked"] == ""
            for fault in line["faults"]:
                counter[fault] += 1
        self.slowest = max(self.slowest, line["seconds"])
        self.largest = max(self.largest, line["megabytes"])
        for fault, text in line["faults"].items():
            self.findings.append({"fault": fault, "text": text, "mutant": line["mutant"]})

    @property
    def faults(self) -> int:
        return sum(self.counts[fault] for fault in FAULTS)

    def table(self) -> str:
        """A row for each kind of file."""
        head = ("mutants", "refused", "accepted", "checked", *FAULTS)
        lines = [f"{'':14s}" + "".join(f"{name:>12s}" for name in head)]
        for name, counter in [*sorted(self.by_kind.items()), ("all", self.counts)]:
            lines.append(f"{name:14s}" + "".join(f"{counter[key]:12d}" for key in head))
        lines.append(f"slowest {self.slowest:.1f} s, largest {self.largest:.0f} MB")
        return "\n".join(lines)


def drawn(subjects: Sequence[Subject], count: int, seed: int) -> list[Mutant]:
    """So many mutants, each by a seed of its own."""
    weights = np.array([subject.weight for subject in subjects])
    random = np.random.default_rng(seed)
    chosen = random.choice(len(subjects), count, p=weights / weights.sum())
    return [mutant(subjects[place], seed * 1_000_003 + k) for k, place in enumerate(chosen)]


def fuzz(
    subjects: Sequence[Subject], count: int, seed: int, room: Path, processes: int = 2
) -> Tally:
    """Run the mutants; the room gets the findings, line by line.

    Those of commands without torch first: a process that has imported it takes five times as long
    to fork.
    """
    tally, mutants = Tally(), drawn(subjects, count, seed)
    for name, heavy, modules in (("light", False, LIGHT), ("heavy", True, HEAVY)):
        chosen = [subject for subject in subjects if _needs_torch(subject) == heavy]
        imported(chosen, room, modules)
        own = [each for each in mutants if _needs_torch(each.subject) == heavy]
        _forked(own, [room / f"{name}-{number}" for number in range(processes)])
        for number in range(processes):
            lines = (room / f"{name}-{number}" / "lines.jsonl").read_text().splitlines()
            for line in lines:
                tally.add(json.loads(line))
    return tally


def _needs_torch(subject: Subject) -> bool:
    return subject.words[0] in ("train", "embed", "pilot") or subject.kind == "safetensors"


def _forked(mutants: Sequence[Mutant], rooms: Sequence[Path]) -> None:
    """A process for each room, and the mutants dealt to them."""
    workers = []
    for number, room in enumerate(rooms):
        if (child := os.fork()) == 0:
            code = 1
            try:
                _work(mutants[number :: len(rooms)], room)
                code = 0
            finally:
                os._exit(code)
        workers.append(child)
    for child in workers:
        _, status = os.waitpid(child, 0)
        if status:
            raise RuntimeError(f"a worker ended with status {status}")


def _work(mutants: Sequence[Mutant], room: Path) -> None:
    room.mkdir(parents=True)
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (used + MOST, resource.RLIM_INFINITY))
    seen: Counter[str] = Counter()
    with (room / "lines.jsonl").open("w") as lines:
        for each in mutants:
            ending = run(each, room)
            if ending.faults:
                fault, text = next(iter(ending.faults.items()))
                key = f"{fault} {text[:60] if fault == 'traceback' else each.subject.name}"
                seen[key] += 1
                if seen[key] <= SHRUNK:
                    each, ending = shrunk(each, fault, room, ending)
                    _keep(each, key, room)
            line = {
                "kind": each.subject.kind,
                "mutant": str(each),
                "code": ending.code,
                "seconds": ending.seconds,
                "wall": ending.wall,
                "megabytes": ending.megabytes,
                "faults": ending.faults,
                "checked": ending.checked,
                "stderr": ending.stderr[-300:],
                "at": time.time(),
            }
            lines.write(json.dumps(line) + "\n")
            lines.flush()


def shrunk(found: Mutant, fault: str, room: Path, ending: object) -> tuple[Mutant, object]:
    """With as few edits as still show the fault."""
    for smaller in found.smaller():
        if fault in (again := run(smaller, room)).faults:
            return shrunk(smaller, fault, room, again)
    return found, ending


def _keep(found: Mutant, key: str, room: Path) -> None:
    """The file of a finding and its command, to look at."""
    name = "".join(c if c.isalnum() else "-" for c in key)[:80]
    folder = room / "findings" / f"{name}-{abs(hash(found.edits)) % 10_000}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / Path(found.subject.file).name).write_bytes(found.content())
    about = {"mutant": str(found), "file": found.subject.file, "words": found.subject.words}
    (folder / "about.json").write_text(json.dumps(about, indent=1))
