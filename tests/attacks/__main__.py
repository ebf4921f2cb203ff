"""`make attack`: the whole campaign and its table."""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from attacks.fuzz import fuzz
from attacks.subjects_runs import subjects


def main() -> int:
    """Exit code 1 where anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="subjects whose name has this in it")
    parser.add_argument("--keep", type=Path, help="folder for what is found; else it is removed")
    given = parser.parse_args()
    room = (given.keep or Path(tempfile.mkdtemp(prefix="attack-"))).absolute()
    began = time.monotonic()
    chosen = [s for s in subjects(room / "seeds") if given.only in s.name]
    tally = fuzz(chosen, given.mutants, given.seed, room)
    print(tally.table())
    print(f"{time.monotonic() - began:.0f} s")
    if given.keep is None:
        shutil.rmtree(room)
    return int(tally.faults > 0)


if __name__ == "__main__":
    sys.exit(main())
