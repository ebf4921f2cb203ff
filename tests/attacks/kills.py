"""A command killed at its n-th file operation, and what the same command makes of what is left."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attacks.worker import command_here

# What changes a folder; "open" counts where it is for writing.
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def kill_at(number: int, folder: Path) -> Callable[[], int]:
    """Kill this process before that change inside the folder (0: never); how many there were."""
    count, inside = [0], str(folder)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if not isinstance(arguments[2], int) or not arguments[2] & WRITES:
                return
        elif event not in CHANGES:
            return
        place = arguments[0]
        if isinstance(place, str | os.PathLike) and os.path.abspath(place).startswith(inside):  # noqa: PTH100
            count[0] += 1
            if count[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return lambda: count[0]


@dataclass(frozen=True)
class Scenario:
    """A command that writes, and what must be the same whatever happened on the way.

    `words` gives the command as the folder stands: with --resume where a run has begun. What stood
    at `kept` before stays whole, or is what the command writes.
    """

    name: str
    template: Path
    words: Callable[[Path], tuple[str, ...]]
    digest: Callable[[Path], Any]
    kept: tuple[str, ...] = ()
    processes: int = 1

    def fresh(self, folder: Path) -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.template, folder)
        return folder


def forked(
    scenario: Scenario, folder: Path, at: int = 0, *, bytes_each: int = 0, said: str = "said.txt"
) -> tuple[int, int]:
    """Exit code (negative for a signal) and changes of the command in a process of its own."""
    words = scenario.words(folder)
    if scenario.processes > 1:
        return _by_torchrun(scenario.processes, words, folder, at)
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        with contextlib.suppress(BaseException):
            os.setsid()
            os.chdir(folder)
            code = command_here(words, folder / said, kill_at(at, folder), writer, bytes_each)
            os._exit(code)
        os._exit(99)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as told:
        count = int(told.read() or 0)
    return os.waitstatus_to_exitcode(status), count


def _by_torchrun(processes: int, words: tuple[str, ...], folder: Path, at: int) -> tuple[int, int]:
    """As `forked`, of several processes, whose first is killed; torchrun ends the others."""
    (folder / "changes.txt").unlink(missing_ok=True)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    script = str(Path(__file__).with_name("ranked.py"))
    line = [*launch, f"--nproc-per-node={processes}", script, str(at), str(folder), *words]
    with (folder / "said.txt").open("wb") as said:
        code = subprocess.run(line, cwd=folder, stdout=said, stderr=said, check=False).returncode
    told = folder / "changes.txt"
    count = int(told.read_text()) if told.is_file() else 0
    return (-signal.SIGKILL if code and not count else code), count


def undisturbed(scenario: Scenario, room: Path) -> tuple[Any, int]:
    """What the command makes when nothing happens, and how many changes that takes."""
    folder = scenario.fresh(room / "whole")
    code, count = forked(scenario, folder)
    assert code == 0, (scenario.name, code, (folder / "said.txt").read_text()[-500:])
    return scenario.digest(folder), count


def killed(scenario: Scenario, room: Path, numbers: list[int], wanted: Any) -> str:
    """What differs after kills at these changes, one after another, and a last run; "" if none."""
    folder = scenario.fresh(room / "killed")
    before = {name: (folder / name).read_bytes() for name in scenario.kept}
    whole = {name: (room / "whole" / name).read_bytes() for name in scenario.kept}
    for number in numbers:
        code, _ = forked(scenario, folder, number)
        if code not in (0, -signal.SIGKILL):
            return f"{code} at {number}: {(folder / 'said.txt').read_text()[-300:]}"
        for name, content in before.items():
            held = (folder / name).read_bytes() if (folder / name).is_file() else b""
            if held != content and len(held) != len(whole[name]):
                return f"{name} is neither what was there nor what is written"
    code, _ = forked(scenario, folder)
    if code:
        return f"{code} afterwards: {(folder / 'said.txt').read_text()[-300:]}"
    return "" if scenario.digest(folder) == wanted else "another result"


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def run_digest(folder: Path) -> Any:
    """Weights, lines without their seconds, configuration, status, and what lies beside them."""
    run = folder / "run"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    places = [json.loads((run / f"checkpoints/{w}.json").read_text()) for w in ("last", "best")]
    held = {place["checkpoint"] for place in places}
    return (
        [sha(run / "checkpoints" / name / "model.safetensors") for name in sorted(held)],
        [{k: v for k, v in line.items() if k != "seconds"} for line in lines],
        (run / "config.yaml").read_text(),
        json.loads((run / "run.json").read_text())["status"],
        sorted(path.name for path in (run / "checkpoints").iterdir() if path.is_dir()),
    )


def arrays_digest(name: str) -> Callable[[Path], Any]:
    def digest(folder: Path) -> Any:
        import numpy as np

        held = np.load(folder / name)
        return {key: hashlib.sha256(held[key].tobytes()).hexdigest()[:16] for key in sorted(held)}

    return digest


def report_digest(folder: Path) -> Any:
    record = json.loads((folder / "out.json").read_text())
    return {key: value for key, value in record.items() if key != "created"}


def pilot_digest(folder: Path) -> Any:
    """What must not depend on kills and time."""
    record = json.loads((folder / "pilot/pilot.json").read_text())
    text = json.dumps(record, sort_keys=True)
    held = json.loads(text, object_hook=lambda o: {k: v for k, v in o.items() if "second" not in k})
    held["conditions"].pop("plan", None)
    return held


def scenarios(room: Path) -> Iterator[Scenario]:
    """Templates made of the subjects' (`subjects_runs`), with an earlier result to keep."""
    data, rows = room / "seeds/data", room / "seeds/rows"

    def train(folder: Path) -> tuple[str, ...]:
        resume = ("--resume",) if (folder / "run/run.json").exists() else ()
        return ("train", "parquet.yaml", "-o", "run", *resume, "--set", "checkpoint.every_steps=2")

    yield Scenario("train", data, train, run_digest)
    yield Scenario("torchrun", data, train, run_digest, processes=2)
    words: dict[str, tuple[str, ...]] = {
        "embed": ("embed", "parquet.yaml", "-o", "out.npz", "--views", "2"),
        "state": ("measure", "rows.npz", "--save-state", "out.npz", "--json"),
        "report": ("report", "rows.npz", "--format", "json", "-o", "out.json"),
    }
    earlier: dict[str, tuple[str, ...]] = {
        "embed": ("embed", "parquet.yaml", "-o", "out.npz"),
        "state": ("measure", "rows.csv", "--save-state", "out.npz", "--json"),
        "report": ("report", "rows.csv", "--format", "json", "-o", "out.json"),
    }
    for name, command in words.items():
        output = "out.json" if name == "report" else "out.npz"
        made = Scenario(name, data if name == "embed" else rows, lambda _, n=name: earlier[n], len)
        folder = made.fresh(room / f"{name}-template")
        assert forked(made, folder)[0] == 0, (folder / "said.txt").read_text()
        digest = report_digest if name == "report" else arrays_digest(output)
        yield Scenario(name, folder, lambda _, c=command: c, digest, (output,))
    pilot = ("pilot", "parquet.yaml", "-o", "pilot", "--seeds", "2", "--budget", "20m")
    pilot = (*pilot, "--workers", "1", "--half-width", "0.4", "--set", "encoder.widths=[32]")
    yield Scenario("pilot", data, lambda _: pilot, pilot_digest)
