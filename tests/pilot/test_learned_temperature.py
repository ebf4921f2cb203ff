"""A pilot compares temperatures that stay."""

import pytest

from uncollapse.errors import InputError
from uncollapse.pilot import pilot
from uncollapse.training import parse_config


def test_a_learned_temperature_is_refused_before_anything_is_made(tmp_path):
    block = {"data": {"source": "digits", "map": "parity"}, "encoder": {"kind": "convnet"}}
    loss = {"alpha": 0, "temperature": 0.1, "learn_temperature": [0.05, 0.5]}
    with pytest.raises(InputError, match=r"loss\.learn_temperature: \[0\.05, 0\.5\]; leave it out"):
        pilot(parse_config(block | {"loss": loss, "epochs": 2}), tmp_path / "pilot")
    assert not (tmp_path / "pilot").exists()
