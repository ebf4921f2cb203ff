"""A command as one process of several (torchrun), of which the first is killed: AT FOLDER WORDS."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from attacks.kills import kill_at
from uncollapse.cli import main

if __name__ == "__main__":
    at, folder, words = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    first = os.environ["RANK"] == "0"
    changes = kill_at(at if first else 0, folder)
    sys.argv = ["uncollapse", *words]
    try:
        main()
    finally:
        if first:
            (folder / "changes.txt").write_text(str(changes()))
