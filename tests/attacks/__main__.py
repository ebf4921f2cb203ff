"""`make attack`: mutants, kills, pairs and full disks, in one table."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from attacks.fuzz import fuzz
from attacks.subjects_runs import subjects
from attacks.together import campaign
from attacks.worker import processor

# Trials of each kind in a hundred; every trial kills twice.
SHARES = {"train": 40, "embed": 18, "state": 18, "report": 16, "pilot": 5, "torchrun": 3}


def spent(began: float) -> str:
    """Time on the wall, which others' work lengthens, and of processors, which it does not."""
    used = processor()
    wall = time.monotonic() - began
    return f"{wall:.0f} s on the wall; {used:.0f} s of processors, {used / 2 / 60:.1f} min on two"


def main() -> int:
    """Exit code 1 where anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="mutants of subjects whose name has this in it")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for what is found; else it is removed")
    given = parser.parse_args()
    # In memory where that is a place: folders are copied ten thousand times.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    room = (given.keep or Path(tempfile.mkdtemp(prefix="attack-", dir=memory))).absolute()
    began = time.monotonic()
    chosen = [s for s in subjects(room / "seeds") if given.only in s.name]
    tally = fuzz(chosen, given.mutants, given.seed, room, given.processes)
    print(tally.table(), flush=True)
    for finding in tally.findings[:40]:
        print(f"{finding['fault']}: {finding['mutant']}: {finding['text']}")
    print(f"{spent(began)}\n", flush=True)
    kills = {name: round(share * given.kills / 200) for name, share in SHARES.items()}
    wrong = campaign(room, kills, given.processes)
    print("\n".join(wrong))
    print(spent(began))
    if given.keep is None:
        shutil.rmtree(room)
    return int(tally.faults > 0 or bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
