"""Networks: saved and loaded bit by bit, counted by hand, refused in the user's words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from edgexai.errors import UserError
from edgexai.models import ARCHITECTURES
from edgexai.models.arch import Arch
from edgexai.models.base import Network
from edgexai.models.cost import macs, parameters
from edgexai.models.store import build, default_widths, load, save

NARROW = {name: tuple(max(4, w // 8) for w in default_widths(name)) for name in ARCHITECTURES}


def arch(name: str, widths: tuple[int, ...] | None = None, *, size: int = 32, classes: int = 5) -> Arch:
    return Arch(name, widths or NARROW[name], classes, size, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def trained_looking(name: str) -> Network:
    """Batch-norm statistics and biases that are not the initial ones."""
    net = build(arch(name), seed=3)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if value.is_floating_point() and key not in ("mean", "std"):
                value.add_(torch.rand(value.shape, generator=generator) * 0.1)
    return net.eval()


def images(n: int = 3, size: int = 32) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_save_and_load_give_the_same_bits(tmp_path: Path, name: str, layout: torch.memory_format) -> None:
    net = trained_looking(name).to(memory_format=layout)
    expected = net(images())
    save(net, tmp_path / "net")
    again = load(tmp_path / "net").to(memory_format=layout)
    assert again.arch == net.arch
    assert not again.training
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in net.state_dict().items()}
    for key, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    assert torch.equal(expected, again(images()))
    assert sorted(p.name for p in (tmp_path / "net").iterdir()) == ["arch.json", "weights.safetensors"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_forward_is_classify_of_features(name: str) -> None:
    net = trained_looking(name)
    features = net.features(images())
    assert features.ndim == 4
    logits = net(images())
    assert logits.shape == (3, 5)
    assert torch.equal(net.classify(features), logits)
    if net.linear_head:
        by_hand = features.mean((2, 3)) @ net.head.get_parameter("weight").T + net.head.get_parameter("bias")
        assert torch.allclose(by_hand, logits, atol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_normalisation_is_inside(name: str) -> None:
    """Another mean and standard deviation, with images moved to match, give the same logits."""
    net = trained_looking(name)
    plain = trained_looking(name)
    plain.mean.zero_()
    plain.std.fill_(1.0)
    given = (images() - net.mean) / net.std
    assert torch.allclose(net(images()), plain(given), atol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_build_follows_its_seed_and_leaves_the_global_generator_alone(name: str) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second, other = build(arch(name), seed=1), build(arch(name), seed=1), build(arch(name), seed=2)
    assert torch.equal(before, torch.random.get_rng_state())
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert all(same)
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_macs_of_signnet_by_hand() -> None:
    a, b, c, m1, o1, d, m2, o2 = widths = (8, 16, 24, 8, 40, 32, 16, 48)
    wanted = 32 * 32 * a * 3 * 9  # then a max-pool: 32 -> 16
    wanted += 16 * 16 * b * a * 9
    wanted += 8 * 8 * c * b * 9  # stride 2: 8
    wanted += 8 * 8 * (m1 * c * 9 + o1 * m1 * 9 + o1 * c)  # residual with a 1x1 shortcut, since c != o1
    wanted += 4 * 4 * d * o1 * 9  # stride 2: 4
    wanted += 4 * 4 * (m2 * d * 9 + o2 * m2 * 9 + o2 * d)
    wanted += 5 * o2
    assert macs(build(arch("signnet", widths), seed=0)) == wanted
    plain = macs(build(arch("signnet", (8, 16, 24, 8, 24, 32, 16, 32)), seed=0))  # sums of equals need no shortcut
    cheap = 1024 * 8 * 27 + 256 * 16 * 72 + 64 * 24 * 144 + 64 * 2 * 8 * 24 * 9
    assert plain == cheap + 16 * 32 * 24 * 9 + 16 * 2 * 16 * 32 * 9 + 5 * 32


def test_macs_and_parameters_of_lisa_cnn_by_hand() -> None:
    a, b, c = widths = (6, 7, 9)
    net = build(arch("lisa_cnn", widths), seed=0)
    # 32 + 2*3 - 8 over stride 2 -> 16; 16 - 6 over 2 -> 6; 6 - 5 -> 2
    assert macs(net) == 16**2 * a * 3 * 64 + 6**2 * b * a * 36 + 2**2 * c * b * 25 + c * 4 * 5
    assert parameters(net) == (3 * 64 + 1) * a + (36 * a + 1) * b + (25 * b + 1) * c + (4 * c + 1) * 5


def test_macs_of_signnet_stay_under_the_promise() -> None:
    net = build(arch("signnet", default_widths("signnet"), classes=43), seed=0)
    assert macs(net) <= 10_000_000


def test_counting_changes_nothing() -> None:
    net = build(arch("signnet"), seed=0).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    macs(net)
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules())


def test_unknown_model_and_wrong_number_of_widths() -> None:
    with pytest.raises(UserError, match="alexnet") as caught:
        build(arch("alexnet", (1,)), seed=0)
    assert "signnet" in str(caught.value)
    with pytest.raises(UserError, match="takes 8 widths, got 3"):
        build(arch("signnet", (8, 8, 8)), seed=0)


@pytest.mark.parametrize(("name", "size"), [("lisa_cnn", 28), ("vgg16", 32)])
def test_smallest_size(name: str, size: int) -> None:
    assert build(arch(name, size=size), seed=0).eval()(images(1, size)).shape == (1, 5)
    with pytest.raises(UserError, match=r"data\.size"):
        build(arch(name, size=size - 1), seed=0)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"name": "signnet"}',
        json.dumps({**arch("signnet").to_json(), "widths": 5}),
        json.dumps({**arch("signnet").to_json(), "mean": [0.5]}),
        json.dumps({**arch("signnet").to_json(), "widths": [8]}),
        json.dumps({**arch("signnet").to_json(), "widths": ["8"] * 8}),
        json.dumps({**arch("signnet").to_json(), "classes": 6}),
        json.dumps({**arch("signnet").to_json(), "classes": -1}),
        json.dumps({**arch("signnet").to_json(), "name": "nothing"}),
        json.dumps({**arch("signnet").to_json(), "name": "resnet18"}),
    ],
)
def test_wrong_arch_json(tmp_path: Path, content: str) -> None:
    save(trained_looking("signnet"), tmp_path)
    (tmp_path / "arch.json").write_text(content)
    with pytest.raises(UserError):
        load(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_weights(tmp_path: Path, keep: int) -> None:
    save(trained_looking("signnet"), tmp_path)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=str(tmp_path)):
        load(tmp_path)


@pytest.mark.parametrize("name", ["arch.json", "weights.safetensors"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    save(trained_looking("signnet"), tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UserError):
        load(tmp_path)
