"""Encoders, the training loop and simulations (torch, Lightning Fabric, timm)."""

from uncollapse.training._run.folder import check_folder, read_run
from uncollapse.training.config import TrainConfig, load_config, load_data_config, parse_config
from uncollapse.training.embed import embed, load_trained
from uncollapse.training.embedding import embed_rows
from uncollapse.training.encoders import Encoder, build_encoder
from uncollapse.training.problem import Problem, build_problem
from uncollapse.training.run import Scores, TrainResult, train

__all__ = [
    "Encoder",
    "Problem",
    "Scores",
    "TrainConfig",
    "TrainResult",
    "build_encoder",
    "build_problem",
    "check_folder",
    "embed",
    "embed_rows",
    "load_config",
    "load_data_config",
    "load_trained",
    "parse_config",
    "read_run",
    "train",
]
