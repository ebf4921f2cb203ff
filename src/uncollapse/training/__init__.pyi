from ._beside import (
    flat_inputs,
)
from ._checkpoint import (
    load_trained,
)
from ._loop import (
    Scores,
)
from ._run_folder import (
    check_folder,
    read_run,
)
from .config import (
    TrainConfig,
    load_config,
    load_data_config,
    parse_config,
)
from .embedding import (
    embed,
    embed_rows,
    joined,
)
from .encoders import (
    Encoder,
    build_encoder,
)
from .problem import (
    Problem,
    build_problem,
)
from .reference import (
    check_reference,
)
from .run import (
    TrainResult,
    fit,
    train,
)

__all__ = [
    "Encoder",
    "Problem",
    "Scores",
    "TrainConfig",
    "TrainResult",
    "build_encoder",
    "build_problem",
    "check_folder",
    "check_reference",
    "embed",
    "embed_rows",
    "fit",
    "flat_inputs",
    "joined",
    "load_config",
    "load_data_config",
    "load_trained",
    "parse_config",
    "read_run",
    "train",
]
