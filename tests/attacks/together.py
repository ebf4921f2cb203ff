"""Two at once in one place, and a disk that is full: nothing lost, nothing half."""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
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


def _trials(
    scenario: Scenario, room: Path, wanted: Any, kills: int, changes: int
) -> Iterator[tuple[str, Callable[[], str]]]:
    """Kills evenly over the changes, full disks, pairs."""
    for k in range(kills):
        # A second kill meets what the first has left.
        first = 1 + k * changes // kills
        numbers = [first, 1 + first // 2]
        yield f"killed at {numbers}", partial(killed, scenario, room, numbers, wanted)
    if scenario.processes > 1:
        return
    short = kills < 5
    for most in FULL[:: 2 if short else 1] if scenario.name != "pilot" else ():
        yield f"{most} bytes", partial(full_disk, scenario, room, most, wanted)
    for _ in range(1 if short else 2 if scenario.name == "pilot" else 5):
        yield "two at once", partial(at_once, scenario, room, wanted)


def campaign(room: Path, kills: dict[str, int], processes: int = 2) -> list[str]:
    """Trials of every scenario, a line of the table for each; what went wrong."""
    wanted = [each for each in scenarios(room) if kills.get(each.name)]
    told = [room / f"campaign-{number}.txt" for number in range(processes)]
    children = []
    for number, file in enumerate(told):
        if (child := os.fork()) == 0:
            code = 1
            try:
                wrong = [_tried(each, room, kills) for each in wanted[number::processes]]
                file.write_text("".join(wrong))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    ended = [os.waitpid(child, 0)[1] for child in children]
    assert not any(ended), "the campaign itself failed"
    return [line for file in told for line in file.read_text().splitlines()]


def _tried(scenario: Scenario, room: Path, kills: dict[str, int]) -> str:
    """A scenario's line, printed; and a line for each of its trials that went wrong."""
    place, wished = room / f"trials-{scenario.name}", kills[scenario.name]
    place.mkdir()
    wanted, changes = undisturbed(scenario, place)
    trials = list(_trials(scenario, place, wanted, wished, changes))
    outcomes = [(what, " ".join(trial().split())) for what, trial in trials]
    wrong = [f"{scenario.name}, {what}: {said}\n" for what, said in outcomes if said]
    line = f"{changes:5d} changes, {2 * wished:4d} kills, {len(trials) - wished:3d} others:"
    print(f"{scenario.name:10s}{line} {len(wrong)} lost or different", flush=True)
    return "".join(wrong)
