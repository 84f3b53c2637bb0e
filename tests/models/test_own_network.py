"""A user's own network: built, saved and rebuilt bit by bit; a breach of the contract is said in the user's words."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

import pytest
import torch
from own_nets import BAD, GOOD, write
from safetensors.torch import save_file

from edgexai.config.own_network import factory_file, network_digests
from edgexai.errors import UserError
from edgexai.explain.cam import cam, gradcam
from edgexai.export.exportable import check_exportable
from edgexai.models.arch import Arch, OwnFactory
from edgexai.models.cost import macs, parameters
from edgexai.models.own import OwnNetwork
from edgexai.models.own_weights import load_own_weights
from edgexai.models.store import build, default_widths, load, save


def own(factory: str, *, feature_map: str = "none") -> OwnFactory:
    return OwnFactory(factory, network_digests(factory, None)["factory_sha256"], feature_map)


def made(factory: str, *, feature_map: str = "none", seed: int = 0, classes: int = 5) -> OwnNetwork:
    arch = Arch("own", (), classes, 32, (0.1, 0.2, 0.3), (0.2, 0.2, 0.2), own(factory, feature_map=feature_map))
    net = build(arch, seed=seed)
    assert isinstance(net, OwnNetwork)
    return net


def images(n: int = 4) -> torch.Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write(tmp_path / "here", monkeypatch).parent


@pytest.mark.parametrize(("factory", "said"), [("mynet:small", "linear_head"), ("mynet:plain", "none")])
def test_saved_and_rebuilt(here: Path, factory: str, said: str) -> None:
    net = made(factory, feature_map=said).train()
    net(images())  # moves batch-norm statistics
    net.eval()
    save(net, here / "net")
    again = load(here / "net")
    assert torch.equal(net(images()), again(images()))
    arch = json.loads((here / "net" / "arch.json").read_text())
    assert arch["own"] == {
        "factory": factory,
        "sha256": hashlib.sha256((here / "mynet.py").read_bytes()).hexdigest(),
        "feature_map": said,
    }
    assert Arch.from_json(arch) == net.arch
    assert default_widths("own") == ()


def test_images_reach_the_module_as_they_are(here: Path) -> None:
    """The contract says [0,1]: mean and standard deviation of the data are not applied."""
    net = made("mynet:small", feature_map="linear_head").eval()
    assert torch.equal(net(images()), net.body(images()))
    by_hand = net.body.convs((images() - 0.4) / 0.3).mean((2, 3)) @ net.body.head.weight.T + net.body.head.bias
    assert torch.allclose(net(images()), by_hand, atol=1e-5)


def test_the_seed_decides_and_the_global_generator_stays(here: Path) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second, other = made("mynet:small", seed=1), made("mynet:small", seed=1), made("mynet:small", seed=2)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first(images()), second(images()))
    assert not torch.equal(first(images()), other(images()))


def test_counted_by_hand(here: Path) -> None:
    net = made("mynet:small")
    assert macs(net) == 16 * 16 * 8 * 27 + 8 * 8 * 12 * 72 + 12 * 5
    assert parameters(net) == (27 + 1) * 8 + 16 + (72 + 1) * 12 + 13 * 5


def test_maps_where_the_module_has_them(here: Path) -> None:
    net = made("mynet:small", feature_map="linear_head").eval()
    targets = torch.tensor([0, 1, 2, 3])
    exact, graded = cam(net, images(), targets), gradcam(net, images(), targets)
    assert torch.allclose(exact / 64, graded, atol=1e-6)  # Grad-CAM is CAM over h * w
    assert exact.max() > 0
    hidden = made("mynet:small").eval()
    with pytest.raises(UserError, match="features"):
        cam(hidden, images(), targets)
    # Grad-CAM then takes the last module that makes a map: the same one, which nothing had named.
    assert torch.allclose(gradcam(hidden, images(), targets), graded, atol=1e-6)


@pytest.mark.parametrize(
    ("factory", "said", "words"),
    [
        ("nan", "none", "NaN or infinite"),
        ("batchwise", "none", "depend on the other images"),
        ("wide", "none", r"\(3, 4\), expected torch.float32 \(3, 5\)"),
        ("pair", "none", "give tuple"),
        ("half", "none", r"torch.float16 \(3, 5\)"),
        ("crash", "none", r"mynet.py:\d+: IndexError: out of luck"),
        ("nothing", "none", "returned NoneType"),
        ("one_argument", "none", "takes 1 positional argument"),
        ("failing", "none", r"mynet.py:\d+: IndexError"),
        ("number", "none", "int, not a function"),
        ("missing", "none", 'has no "missing"'),
        ("plain", "features", "no features and no classify"),
        ("apart", "features", "differs from forward"),
        ("doubled", "linear_head", "linear head"),
        ("peak", "linear_head", "linear head"),
    ],
)
def test_what_breaks_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: str, said: str, words: str
) -> None:
    write(tmp_path, monkeypatch, BAD)
    with pytest.raises(UserError) as caught:
        made(f"mynet:{factory}", feature_map=said)
    assert re.search(words, str(caught.value)), str(caught.value)


@pytest.mark.parametrize("factory", ["doubled", "peak"])
def test_features_without_a_linear_head_are_enough_for_gradcam(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: str
) -> None:
    write(tmp_path, monkeypatch, BAD)
    net = made(f"mynet:{factory}", feature_map="features").eval()
    assert not net.linear_head
    assert gradcam(net, images(), torch.zeros(4, dtype=torch.int64)).shape == (4, 32, 32)


def test_a_module_that_fails_names_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, monkeypatch, "import torch\n\nx = 1 / 0\n")
    with pytest.raises(UserError, match=r"mynet.py:3: ZeroDivisionError"):
        made("mynet:small")
    write(tmp_path, monkeypatch, "def small(:\n")
    with pytest.raises(UserError, match="SyntaxError"):
        made("mynet:small")


def test_a_changed_file_is_refused_and_never_an_old_one_run(here: Path) -> None:
    """Also where this process has imported the old one, and where size and time of the file are the same."""
    made("mynet:small")
    save(made("mynet:small"), here / "net")
    changed = GOOD.replace("images - 0.4", "images - 0.9")
    assert len(changed) == len(GOOD)
    (here / "mynet.py").write_text(changed)
    with pytest.raises(UserError, match="not the file this network was made from"):
        load(here / "net")
    new = made("mynet:small", feature_map="linear_head").eval()
    by_hand = new.body.head(new.body.convs((images() - 0.9) / 0.3).mean((2, 3)))
    assert torch.allclose(new(images()), by_hand, atol=1e-6)
    (here / "mynet.py").write_text(GOOD)
    load(here / "net")


def test_packages_relative_imports_and_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Finding and digesting runs nothing, not even the package around the file; building follows relative imports."""
    package = tmp_path / "there" / "nets_of_mine"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("print('package runs')\n")
    (package / "parts.py").write_text(GOOD)
    (package / "signs.py").write_text("print('module runs')\nfrom .parts import small\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match='no module "nets_of_mine"'):
        factory_file("nets_of_mine.signs:small")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "there")])
    assert factory_file("nets_of_mine.signs:small") == package / "signs.py"
    network_digests("nets_of_mine.signs:small", None)
    assert "runs" not in capfd.readouterr().out
    made("nets_of_mine.signs:small")
    assert capfd.readouterr().out.split("\n")[:2] == ["package runs", "module runs"]
    for missing in ("nets_of_mine.other:small", "nets_of_mine.signs.small:small"):
        with pytest.raises(UserError, match="no module"):
            factory_file(missing)
    with pytest.raises(UserError, match="not a Python source file"):
        factory_file("math:sqrt") if "math" not in sys.builtin_module_names else factory_file("_struct:Struct")


# Weights


def weights(net: OwnNetwork, path: Path, changes: dict[str, torch.Tensor | None] | None = None) -> str:
    state = {k: v.clone() for k, v in net.body.state_dict().items()}
    for key, value in (changes or {}).items():
        if value is None:
            del state[key]
        else:
            state[key] = value
    save_file(state, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_weights_are_those_of_the_file(here: Path) -> None:
    source, net, path = made("mynet:small", seed=1).eval(), made("mynet:small", seed=2).eval(), here / "w.safetensors"
    digest = weights(source, path)
    assert digest == network_digests("mynet:small", str(path))["weights_sha256"]
    assert not torch.equal(net(images()), source(images()))
    assert net.arch.own is not None
    load_own_weights(net, net.arch.own, path, sha256=digest)
    assert torch.equal(net(images()), source(images()))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"head.bias": None}, "missing: head.bias"),
        ({"tail.bias": torch.zeros(2)}, "unexpected: tail.bias"),
        ({"head.weight": torch.zeros(7, 12)}, r"head.weight is (7, 12), the network wants (5, 12)"),
        ({"head.bias": torch.full((5,), torch.nan)}, "not finite: head.bias"),
        ({"head.bias": None, "convs.0.weight": torch.zeros(1)}, "shape: convs.0.weight"),
    ],
)
def test_weights_that_do_not_fit(here: Path, changes: dict[str, torch.Tensor | None], words: str) -> None:
    net, path = made("mynet:small"), here / "w.safetensors"
    before = {k: v.clone() for k, v in net.state_dict().items()}
    assert net.arch.own is not None
    with pytest.raises(UserError) as caught:
        load_own_weights(net, net.arch.own, path, sha256=weights(net, path, changes))
    assert words in str(caught.value)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_files_that_are_no_weights(here: Path) -> None:
    net, path = made("mynet:small"), here / "w.safetensors"
    assert net.arch.own is not None
    with pytest.raises(UserError, match="cannot be read"):
        load_own_weights(net, net.arch.own, path, sha256="")
    whole = weights(net, path)
    with pytest.raises(UserError, match="has changed"):
        load_own_weights(net, net.arch.own, path, sha256="0" * 64)
    good = path.read_bytes()
    for content in (b"", b"PK\x03\x04 a pickle in a zip", good[:40], good[:-4]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="not a safetensors file"):
            load_own_weights(net, net.arch.own, path, sha256=hashlib.sha256(content).hexdigest())
    path.write_bytes(good)
    load_own_weights(net, net.arch.own, path, sha256=whole)


def test_logits_that_overflow_with_finite_weights(here: Path) -> None:
    net, path = made("mynet:small"), here / "w.safetensors"
    assert net.arch.own is not None
    digest = weights(net, path, {"head.weight": torch.full((5, 12), 3e38), "convs.3.bias": torch.full((12,), 9.0)})
    with pytest.raises(UserError, match="NaN or infinite"):
        load_own_weights(net, net.arch.own, path, sha256=digest)


@pytest.mark.slow
def test_what_the_exporter_cannot_follow_is_said_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, monkeypatch, BAD)
    check_exportable(made("mynet:plain"))
    with pytest.raises(UserError, match="cannot be exported"):
        check_exportable(made("mynet:branching"))
