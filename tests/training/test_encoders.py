"""Encoders: shapes, seeds, and weights from files that are never unpickled."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from declared import TENSORS, arrays, safetensors_file
from uncollapse.errors import InputError
from uncollapse.training import build_encoder
from uncollapse.training.config import EncoderConfig, HeadConfig
from uncollapse.training.weights import load_weights


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


def test_a_checkpoint_of_a_run_gives_its_backbone(tmp_path):
    """Fine-tuning, or a reference, from what `uncollapse train` wrote."""
    trained = build(seed=5)
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    found = build(base=tmp_path, weights="model.safetensors")
    for name, tensor in trained.backbone.state_dict().items():
        assert torch.equal(found.backbone.state_dict()[name], tensor)
    assert not torch.equal(found.head[0].weight, trained.head[0].weight)


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


def pt(path, state):
    torch.save(state, path)
    return path


def test_order_pairs_what_means_the_same(tmp_path):
    model = torch.nn.Sequential(torch.nn.LayerNorm(4), torch.nn.BatchNorm1d(4))
    state = model.state_dict()
    by_name = dict(sorted(state.items()))  # bias before weight, as a safetensors file has them
    save_file(state, tmp_path / "sorted.safetensors")
    with pytest.raises(InputError, match="a safetensors file has none"):
        load_weights(model, tmp_path / "sorted.safetensors", "order")
    with pytest.raises(InputError, match=r"'0.bias' where the model has '0.weight'"):
        load_weights(model, pt(tmp_path / "sorted.pt", by_name), "order")
    # Names that end alike, but in which one module's tensors are another two's.
    mixed = {"a.weight": 0, "b.bias": 1, "c.weight": 2, "c.bias": 3}
    four = dict.fromkeys(mixed, torch.zeros(4))
    with pytest.raises(InputError, match=r"'b.bias' where the model has '0.bias'"):
        load_weights(
            torch.nn.Sequential(torch.nn.LayerNorm(4)), pt(tmp_path / "m.pt", four), "order"
        )


@pytest.mark.parametrize("before", ["", "encoder."])
def test_order_pairs_no_tensor_with_one_beside_its_namesake(tmp_path, before):
    def attention(names):
        return torch.nn.ModuleDict({name: torch.nn.Linear(4, 4) for name in names})

    state = {f"{before}{k}": v for k, v in attention("kqv").state_dict().items()}
    with pytest.raises(InputError, match=r"k.weight' where the model has 'q.weight'"):
        load_weights(attention("qkv"), pt(tmp_path / "w.pt", state), "order")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: list(state.values()), "list without tensors by name"),
        (lambda state: torch.zeros(3), "Tensor without tensors by name"),
        (lambda state: {k: (v * 99).to(torch.int8) for k, v in state.items()}, "found torch.int8"),
        (lambda state: {k: v * 1j for k, v in state.items()}, "found torch.complex64"),
        (lambda state: {k: v * float("nan") for k, v in state.items()}, "NaN, infinity"),
        (lambda state: {k: v.double() * 1e300 for k, v in state.items()}, "infinite as torch.flo"),
        (lambda state: {k: v.to("meta") for k, v in state.items()}, "a plain tensor"),
        (lambda state: {k: v.numpy() for k, v in state.items()}, "a pickle of more than tensors"),
    ],
)
def test_files_without_usable_weights(tmp_path, change, words):
    model = torch.nn.Linear(3, 4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InputError, match=words):
        load_weights(model, pt(tmp_path / "w.pt", change(before)), "name")
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("said", TENSORS.values(), ids=TENSORS)
def test_weights_that_their_file_does_not_hold(tmp_path, said):
    (tmp_path / "w.safetensors").write_bytes(safetensors_file("embedding", arrays(), said))
    with pytest.raises(InputError, match="deserializing header"):
        load_weights(torch.nn.Linear(3, 4), tmp_path / "w.safetensors", "name")


@pytest.mark.parametrize(
    "given",
    [
        "evil.sub/w.pt",
        "evil/../other/w.pt",
        "evil//etc/w.pt",
        "evil",
        "ev-il/w.pt",
        "__main__/w.pt",
    ],
)
def test_a_package_is_found_without_being_run(tmp_path, monkeypatch, given, capsys):
    folder = tmp_path / "evil" / "sub"
    folder.mkdir(parents=True)
    for file in (folder.parent / "__init__.py", folder / "__init__.py"):
        file.write_text("print('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError):
        build(weights=f"package:{given}")
    pt(folder / "w.pt", build(seed=5).backbone.state_dict())
    build(weights="package:evil/sub/w.pt")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("name", "size"), [("vit_tiny_patch16_224", 32), ("resnet10t", 40)])
def test_a_timm_model_is_made_for_the_images(name, size):
    model = build((3, size, size), kind="timm", name=name)
    assert model(torch.zeros(2, 3, size, size)).shape == (2, 16)


def test_an_image_size_that_a_model_cannot_take_is_said():
    with pytest.raises(InputError, match="images of 8 x 8 pixels"):
        build((3, 8, 8), kind="timm", name="vit_tiny_patch16_224")


@pytest.mark.parametrize(
    ("encoder", "head"),
    [
        ({"kind": "mlp", "widths": [60_000, 60_000]}, {}),
        ({"kind": "mlp", "widths": [8]}, {"hidden": 60_000, "dimension": 60_000}),
    ],
)
def test_weights_that_no_memory_holds_are_refused_before_they_are_made(encoder, head):
    with pytest.raises(InputError, match="at most 1,073,741,824 weights"):
        build((10,), HeadConfig(**head), **encoder)


def test_a_pickle_cut_inside_a_number_is_refused(tmp_path):
    (tmp_path / "w.pt").write_bytes(b"\x80\x02G\x00\x00")
    with pytest.raises(InputError, match="load without unpickling"):
        load_weights(torch.nn.Linear(2, 2), tmp_path / "w.pt", "name")
