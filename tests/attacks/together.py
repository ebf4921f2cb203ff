"""Two at once in one place, and a disk that is full: nothing lost, nothing half."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attacks.kills import Scenario, forked, killed, scenarios, undisturbed

# Bytes that a file may have at most, as a disk that is full at that point of it.
FULL = (1, 512, 4_000, 20_000)


def at_once(scenario: Scenario, room: Path, wanted: Any) -> str:
    """Two processes with the same command: at least one gets through, a refused one says why."""
    folder = scenario.fresh(room / "both")
    codes = []
    reader, writer = os.pipe()
    for number in range(2):
        if os.fork() == 0:
            code = 99
            try:
                time.sleep(0.02 * number)
                code = forked(scenario, folder, said=f"said-{number}.txt")[0]
                os.write(writer, bytes([code & 0xFF]))
            finally:
                os._exit(0)
    os.close(writer)
    for _ in range(2):
        os.wait()
    with os.fdopen(reader, "rb") as told:
        codes = sorted(told.read())
    said = [(folder / f"said-{number}.txt").read_text() for number in range(2)]
    if codes not in ([0, 0], [0, 2]):
        return f"exit codes {codes}: {said}"
    if codes == [0, 2] and not any("uncollapse: error: expected" in text for text in said):
        return f"refused without a sentence: {said}"
    return "" if scenario.digest(folder) == wanted else "another result"


def full_disk(scenario: Scenario, room: Path, most: int, wanted: Any) -> str:
    """A sentence or a whole result; what was there before stays; room again, all is as it was."""
    folder = scenario.fresh(room / "full")
    before = {name: (folder / name).read_bytes() for name in scenario.kept}
    code, _ = forked(scenario, folder, bytes_each=most)
    said = (folder / "said.txt").read_text()
    if code not in (0, 2) or (code == 2 and "uncollapse: error: expected" not in said):
        return f"exit code {code}: {said[-300:]}"
    if code == 2 and any((folder / name).read_bytes() != was for name, was in before.items()):
        return "what was there before is gone"
    if forked(scenario, folder)[0]:
        return f"afterwards: {(folder / 'said.txt').read_text()[-300:]}"
    return "" if scenario.digest(folder) == wanted else "another result"


def campaign(
    room: Path, kills: dict[str, int], say: Callable[[str], None]
) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """Kills, full disks and pairs of every scenario: what went wrong, and how much was tried."""
    wrong, counts = [], {}
    for scenario in scenarios(room):
        if not (wished := kills.get(scenario.name, 0)):
            continue
        wanted, changes = undisturbed(scenario, room)
        tried, failed = 0, 0
        # Evenly over the changes; a second kill meets what the first has left.
        places = [1 + k * changes // max(1, wished) for k in range(wished)]
        trials: list[tuple[str, Callable[[], str]]] = [
            (f"killed at {n}", lambda n=n: killed(scenario, room, [n, 1 + n // 2], wanted))
            for n in places
        ]
        if scenario.name != "pilot":
            trials += [
                (f"{most} bytes", lambda m=most: full_disk(scenario, room, m, wanted))
                for most in FULL
            ]
        trials += [("two at once", lambda: at_once(scenario, room, wanted))] * 3
        for what, trial in trials:
            tried += 1
            if said := trial():
                failed += 1
                wrong.append(f"{scenario.name}, {what}: {said}")
        counts[scenario.name] = (tried, failed)
        say(
            f"{scenario.name:10s}{changes:8d} changes{tried:6d} trials{failed:6d} lost or different"
        )
    return wrong, counts
