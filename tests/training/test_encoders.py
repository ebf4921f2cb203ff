"""Encoders: shapes, seeds, and weights from files that are never unpickled."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from uncollapse.errors import InputError
from uncollapse.training import build_encoder
from uncollapse.training.config import EncoderConfig, HeadConfig


def build(shape=(1, 32, 32), head=None, base=None, seed=0, **encoder):
    config = EncoderConfig(**{"kind": "convnet", **encoder})
    return build_encoder(config, head or HeadConfig(dimension=16), shape, seed=seed, base=base)


@pytest.mark.parametrize(
    ("encoder", "shape", "width"),
    [
        ({"kind": "convnet"}, (1, 28, 28), 128),
        ({"kind": "mlp", "widths": [32, 24]}, (10,), 24),
        ({"kind": "resnet", "depth": 18}, (3, 32, 32), 512),
        ({"kind": "timm", "name": "resnet10t"}, (1, 64, 64), 512),
    ],
)
def test_layers_and_seeds(encoder, shape, width):
    before = torch.get_rng_state()
    model, same, other = (build(shape, seed=seed, **encoder).eval() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    with torch.no_grad():
        found = model.layers(torch.ones(2, *shape))
        assert found["backbone"].shape == (2, width)
        assert found["projector"].shape == (2, 16)
        assert torch.equal(same(torch.ones(2, *shape)), found["projector"])
        assert not torch.equal(other(torch.ones(2, *shape)), found["projector"])


def test_the_small_stem_keeps_the_resolution():
    model = build((3, 32, 32), kind="resnet").backbone
    assert model.conv1.stride == (1, 1)
    assert isinstance(model.maxpool, torch.nn.Identity)


def test_weights_by_name_and_by_order(tmp_path):
    source = build(seed=5).backbone
    save_file(source.state_dict(), tmp_path / "named.safetensors")
    renamed = {f"other.{k}": v for k, v in source.state_dict().items()}
    torch.save({"state_dict": renamed}, tmp_path / "renamed.pth")
    by_name = build(base=tmp_path, weights="named.safetensors").backbone
    by_order = build(base=tmp_path, weights="renamed.pth", match="order").backbone
    for loaded in (by_name, by_order):
        for name, tensor in source.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                assert torch.equal(loaded.state_dict()[name], tensor)
    with pytest.raises(InputError, match="missing, the first"):
        build(base=tmp_path, weights="renamed.pth")
    with pytest.raises(InputError, match="shape"):
        build((3, 32, 32), base=tmp_path, weights="named.safetensors")


class Dangerous:
    def __reduce__(self):
        return (print, ("unpickled",))


def test_nothing_is_unpickled(tmp_path, capsys):
    (tmp_path / "bad.pth").write_bytes(pickle.dumps(Dangerous(), protocol=2))
    torch.save({"x": Dangerous()}, tmp_path / "worse.pth")
    for name in ("bad.pth", "worse.pth"):
        with pytest.raises(InputError, match="without unpickling"):
            build(base=tmp_path, weights=name)
    assert capsys.readouterr().out == ""


def test_a_frozen_backbone_stays_as_it_is():
    model = build(frozen=True).train()
    assert not any(module.training for module in model.backbone.modules())
    assert model.head.training
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())


def test_what_does_not_fit_is_said():
    with pytest.raises(InputError, match="mlp for vectors"):
        build((10,))
    with pytest.raises(InputError, match="the name of a timm model"):
        build((3, 32, 32), kind="timm", name="resnet1")
