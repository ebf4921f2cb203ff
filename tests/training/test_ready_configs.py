"""The ready configurations are valid, and predict what their comments say."""

from pathlib import Path

import pytest

from uncollapse.training import load_config, load_data_config

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_ready_configuration_is_valid(path):
    if "\nloss:" not in path.read_text("utf-8"):
        assert load_data_config(path).split.column
        return
    config = load_config(path)
    assert config.data.split.validation > 0
    assert config.loss.temperature == 0.1
