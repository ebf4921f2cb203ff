"""The fused backend on several processes by Triton's interpreter, against one process.

TRITON_INTERPRET=1 python tests/losses/fused_gather.py
"""

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from test_distributed import check_exchanges

if __name__ == "__main__":
    check_exchanges((0, 3, 16, 17), ["fused"])
    json.dump("equal", sys.stdout)
