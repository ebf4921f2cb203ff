"""Configurations: what is wrong in them is named, with what to do."""

import pytest
from runs import BLOCK

from uncollapse.errors import InputError
from uncollapse.training import load_config, parse_config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": 3}, "did you mean epochs"),
        ({"epochs": "many"}, "epochs must be a valid integer"),
        ({"loss": {"alpha": 1.5, "temperature": 0.1}}, "loss.alpha"),
        ({"loss": {"temperature": 0.1}}, "loss.alpha is missing; add the key"),
        ({"encoder": {"kind": "timm"}}, "`name` and kind `timm` belong together"),
        ({"views": {"count": 1}}, "alpha > 0 needs views.count of 2 or more"),
        ({"data": {"source": "digit"}}, "did you mean digits?"),
        ({"data": {"source": "digits", "lable": "x"}}, "did you mean data.label?"),
        ({"schedule": {"epochs": 3}}, "did you mean optimiser.schedule?"),
        ({"optimiser": {"name": "adan"}}, "optimiser"),
        ({"encoder": {"kind": "mlp", "widths": [10**9]}}, "encoder.widths.0"),
        ({"head": {"dimension": 10**9}}, "head.dimension"),
        ({"data": {"source": "digits", "image": {"size": 10**9}}}, "image.size"),
    ],
)
def test_a_wrong_key_or_value_is_named(change, message):
    with pytest.raises(InputError) as error:
        parse_config({**BLOCK, **change})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_change_single_keys(tmp_path):
    import yaml

    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(BLOCK))
    config = load_config(path, ["loss.alpha=0.4", "optimiser.weight_decay=1e-3", "workers=1"])
    assert (config.loss.alpha, config.optimiser.weight_decay, config.workers) == (0.4, 1e-3, 1)
    for setting, message in (("loss", "key=value"), ("epochs.x=1", "a block at 'epochs'")):
        with pytest.raises(InputError, match=message):
            load_config(path, [setting])
    path.write_text("a: [")
    with pytest.raises(InputError, match="YAML in"):
        load_config(path)
    with pytest.raises(InputError, match="a configuration in YAML"):
        load_config(tmp_path / "none.yaml")
