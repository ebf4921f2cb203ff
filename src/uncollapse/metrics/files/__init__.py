"""Embeddings from files: npy, npz, safetensors, parquet, CSV and Hugging Face dataset folders."""

from uncollapse.metrics.files.columns import Columns
from uncollapse.metrics.files.measuring import accumulate_files, measure_files

__all__ = ["Columns", "accumulate_files", "measure_files"]
