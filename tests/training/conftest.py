"""Put this folder on the path, so that tests and subprocesses share `runs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
