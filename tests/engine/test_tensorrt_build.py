"""The builder, run for real through TensorRT-RTX (NVIDIA's parser and builder, no GPU), and what surrounds it.

What it accepts is parsed and compiled; that says nothing about speed, nor about TensorRT 10.3's own parser.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgexai.engine import tensorrt_build, tensorrt_cache
from edgexai.engine.onnx_metadata import onnx_metadata
from edgexai.engine.tensorrt_build import build_engine
from edgexai.engine.tensorrt_cache import cached_engine, engine_key
from edgexai.engine.tensorrt_library import TensorRT, load_tensorrt, version_of
from edgexai.engine.tensorrt_options import BuildOptions
from edgexai.engine.tensorrt_placement import placement
from edgexai.engine.tensorrt_sidecar import read_sidecar, sha256_of, sidecar_of
from edgexai.errors import MissingCapability, UserError
from edgexai.export import FLAVOURS
from edgexai.export.fp16 import to_fp16
from edgexai.export.int8 import quantise
from edgexai.export.onnx_graph import export_onnx
from edgexai.models import ARCHITECTURES
from edgexai.models.arch import Arch
from edgexai.models.store import build, default_widths

FEW = BuildOptions(max_batch=8, opt_batch=2)


@pytest.fixture(scope="module")
def rtx() -> TensorRT:
    pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx")
    return load_tensorrt("tensorrt_rtx")


def exported(name: str, folder: Path, *, saliency: str) -> dict[str, Path]:
    """All flavours of an untrained, narrow network."""
    widths = tuple(max(8, w // 8) for w in default_widths(name))
    net = build(Arch(name, widths, 5, 32, (0.5,) * 3, (0.25,) * 3), seed=0)
    files = {flavour: folder / f"{name}-{flavour}.onnx" for flavour in FLAVOURS}
    export_onnx(net, files["fp32"], opset=18, saliency=saliency, metadata={"edgexai.arch": name})
    to_fp16(files["fp32"], files["fp16"], metadata={"edgexai.artefact": "fp16"})
    images = np.random.default_rng(0).random((32, 3, 32, 32), dtype=np.float32)
    for flavour in ("int8-tensorrt", "int8-x86"):
        quantise(files["fp32"], files[flavour], flavour=flavour, images=images, metadata={"edgexai.artefact": flavour})
    return files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return exported("lisa_cnn", tmp_path_factory.mktemp("onnx"), saliency="gradient")


def tiny(path: Path, nodes: list[Any], *, out: int = TensorProto.FLOAT, given: str = "images", **more: Any) -> Path:
    """images (batch,3,8,8) -> logits, of the nodes given."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(given, TensorProto.FLOAT, more.get("shape", ["batch", 3, 8, 8]))],
        [helper.make_tensor_value_info(more.get("output", "logits"), out, None)],
        more.get("weights", [helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])]),
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def mean(given: str = "images", out: str = "logits") -> Any:
    return helper.make_node("ReduceMean", [given, "axes"], [out], keepdims=0, name="mean_of_planes")


@pytest.mark.parametrize("flavour", ["fp32", "fp16", "int8-tensorrt"])
def test_the_boards_files_are_built(rtx: TensorRT, files: dict[str, Path], tmp_path: Path, flavour: str) -> None:
    target = tmp_path / "model.engine"
    made = build_engine(files[flavour], target, options=FEW, library=rtx, timing_cache=tmp_path / "times" / "t.bin")
    assert target.stat().st_size == made.engine_bytes > 10_000
    assert (tmp_path / "times" / "t.bin").is_file()
    assert made == read_sidecar(target)
    assert made.engine_sha256 == sha256_of(target)
    assert made.onnx_sha256 == sha256_of(files[flavour])
    assert (made.library, made.tensorrt, made.gpu) == ("tensorrt_rtx", rtx.__version__, {})
    assert made.shapes == {
        "images": [[1, 3, 32, 32], [2, 3, 32, 32], [8, 3, 32, 32]],
        "logits": [-1, 5],
        "saliency": [-1, 32, 32],
    }
    assert made.options == FEW.to_json()
    assert made.metadata["edgexai.arch"] == "lisa_cnn"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.engine", "model.engine.json", "times"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - {"own"}))
def test_every_architecture_is_built(rtx: TensorRT, tmp_path: Path, name: str) -> None:
    for saliency in ("cam", "gradient") if name not in ("vgg16", "lisa_cnn") else ("gradient",):
        for flavour, path in exported(name, tmp_path, saliency=saliency).items():
            if flavour != "int8-x86":
                made = build_engine(path, tmp_path / "e.engine", options=FEW, library=rtx)
                assert made.engine_bytes > 10_000
                assert made.shapes["saliency"] == [-1, 32, 32]


def test_the_workstations_int8_is_refused_by_node(rtx: TensorRT, files: dict[str, Path], tmp_path: Path) -> None:
    model = onnx.load(files["int8-x86"])
    rounding = {n.name: n.op_type for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")}
    with pytest.raises(UserError, match="refuses it") as caught:
        build_engine(files["int8-x86"], tmp_path / "e.engine", options=FEW, library=rtx)
    said = caught.value.problems[0]
    name = said.split('"')[1]
    assert said.startswith(f'node "{name}" ({rounding[name]}): ')
    assert not list(tmp_path.iterdir())


def int32_bias(path: Path) -> Path:
    weights = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
        helper.make_tensor("whole", TensorProto.INT32, [3], [1, 2, 3]),
        helper.make_tensor("scale", TensorProto.FLOAT, [], [0.5]),
        helper.make_tensor("zero", TensorProto.INT32, [], [0]),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["whole", "scale", "zero"], ["bias"], name="the_bias_in_int32"),
        mean(out="means"),
        helper.make_node("Add", ["means", "bias"], ["logits"], name="add"),
    ]
    return tiny(path, nodes, weights=weights)


def pooled_indices(path: Path) -> Path:
    pool = helper.make_node("MaxPool", ["images"], ["a", "where"], kernel_shape=[2, 2], strides=[2, 2], name="pool_x")
    cast = helper.make_node("Cast", ["where"], ["b"], to=TensorProto.FLOAT, name="cast")
    return tiny(path, [pool, cast, helper.make_node("Add", ["a", "b"], ["c"], name="add"), mean("c")])


def unknown_operator(path: Path) -> Path:
    weird = helper.make_node("FancyNorm", ["images"], ["a"], name="fancy_1", domain="our.own")
    graph_path = tiny(path, [weird, mean("a")])
    model = onnx.load(graph_path)
    model.opset_import.append(helper.make_opsetid("our.own", 1))
    onnx.save(model, graph_path)
    return graph_path


@pytest.mark.parametrize(
    ("make", "node", "operator"),
    [
        (int32_bias, "the_bias_in_int32", "DequantizeLinear"),
        (pooled_indices, "pool_x", "MaxPool"),
        (unknown_operator, "fancy_1", "FancyNorm"),
    ],
)
def test_planted_bad_graphs_are_refused_by_node(
    rtx: TensorRT, tmp_path: Path, make: Callable[[Path], Path], node: str, operator: str
) -> None:
    with pytest.raises(UserError, match=f'node "{node}" \\({operator}\\): .+'):
        build_engine(make(tmp_path / "bad.onnx"), tmp_path / "e.engine", options=FEW, library=rtx)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.onnx"]


def test_other_inputs_and_outputs_are_refused(rtx: TensorRT, tmp_path: Path) -> None:
    cases = {
        'there must be "images" alone': tiny(tmp_path / "a.onnx", [mean("pixels")], given="pixels"),
        '"logits" is missing': tiny(tmp_path / "b.onnx", [mean(out="scores")], output="scores"),
        "must be (batch, 3, height, width)": tiny(tmp_path / "c.onnx", [mean()], shape=["batch", 3, "h", "w"]),
        "stay float32": tiny(
            tmp_path / "d.onnx",
            [mean(out="a"), helper.make_node("Cast", ["a"], ["logits"], to=TensorProto.FLOAT16, name="half")],
            out=TensorProto.FLOAT16,
        ),
        "takes batches of 4 only": tiny(tmp_path / "e.onnx", [mean()], shape=[4, 3, 8, 8]),
    }
    for said, path in cases.items():
        with pytest.raises(UserError) as caught:
            build_engine(path, tmp_path / "e.engine", options=FEW, library=rtx)
        assert said in str(caught.value)
    with pytest.raises(UserError, match="no such file"):
        build_engine(tmp_path / "absent.onnx", tmp_path / "e.engine", options=FEW, library=rtx)
    (tmp_path / "text.onnx").write_text("not a network at all")
    with pytest.raises(UserError, match="refuses it"):
        build_engine(tmp_path / "text.onnx", tmp_path / "e.engine", options=FEW, library=rtx)


def test_wishes_that_cannot_be_met_are_refused(rtx: TensorRT, tmp_path: Path) -> None:
    """None of them is dropped in silence."""
    path = tiny(tmp_path / "a.onnx", [mean()])
    for wish, said in (
        ({"hardware": "ampere_plus"}, "does not build for hardware"),
        ({"dla_core": 0, "opt_batch": 8}, "sees 0 accelerator cores"),
        ({"version_compatible": True}, "could not build it"),
    ):
        with pytest.raises(MissingCapability, match=said):
            build_engine(path, tmp_path / "e.engine", options=replace(FEW, **wish), library=rtx)
    assert not (tmp_path / "e.engine").exists()


def test_without_a_gpu_tensorrt_is_refused_before_it_is_touched(tmp_path: Path) -> None:
    if Path("/dev/nvidiactl").exists() or Path("/dev/nvmap").exists():
        pytest.skip("a GPU is here")
    path = tiny(tmp_path / "a.onnx", [mean()])
    for call in (
        lambda: build_engine(path, tmp_path / "e.engine", options=FEW),
        lambda: cached_engine(path, tmp_path / "engines", options=FEW),
    ):
        with pytest.raises(MissingCapability, match="driver") as caught:
            call()
        assert "next:" in str(caught.value)


def test_versions() -> None:
    assert version_of("10.3.0") < version_of("10.13.3.9") < version_of("11.4.0.106")
    assert version_of("8.6.1") < (10, 3) == version_of("10.3.0")
    assert version_of("unknown") == (0, 0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_batch": 0}, "opt_batch"),
        ({"opt_batch": 65}, "1 to max_batch = 64"),
        ({"workspace_mib": 0}, "workspace_mib"),
        ({"optimization_level": 6}, "0 to 5"),
        ({"hardware": "all"}, "one of none, ampere_plus"),
        ({"dla_core": -1, "opt_batch": 64}, "dla_core"),
        ({"dla_core": 0}, "batch is fixed"),
    ],
)
def test_options_that_contradict(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        BuildOptions(**wrong)


def test_batches() -> None:
    assert BuildOptions(max_batch=32, opt_batch=4).batches == (1, 4, 32)
    assert BuildOptions(max_batch=8, opt_batch=8, dla_core=1).batches == (8, 8, 8)


def test_the_cache_builds_once_and_heals(rtx: TensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Path] = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        built.append(args[0])
        return build_engine(*args, **kwargs)

    monkeypatch.setattr(tensorrt_cache, "build_engine", counted)
    path, folder = tiny(tmp_path / "a.onnx", [mean()]), tmp_path / "engines"
    first = cached_engine(path, folder, options=FEW, library=rtx)
    again = cached_engine(path, folder, options=FEW, library=rtx)
    assert (first, len(built)) == (again, 1)
    assert first.parent.stat().st_mode & 0o777 == 0o755
    other = cached_engine(path, folder, options=replace(FEW, max_batch=4), library=rtx)
    assert other != first
    for spoil in (lambda: first.write_bytes(first.read_bytes()[:-1]), lambda: sidecar_of(first).unlink()):
        spoil()
        before = len(built)
        assert cached_engine(path, folder, options=FEW, library=rtx) == first
        assert len(built) == before + 1
        assert read_sidecar(first) is not None
    assert sorted(p.name for p in folder.iterdir()) == sorted([first.parent.name, other.parent.name, "timings.bin"])


def test_the_key_follows_all_that_an_engine_follows_from() -> None:
    card = {"name": "Orin", "compute_capability": "8.7", "multiprocessors": 8, "cuda_driver": "12.6"}

    def key(onnx_sha256: str = "a", **changed: Any) -> str:
        settings = {"options": FEW, "library": "tensorrt", "version": "10.3.0", "card": card} | changed
        return engine_key(onnx_sha256, **settings)

    others = [
        key("b"),
        key(options=replace(FEW, tf32=True)),
        key(options=replace(FEW, max_batch=16)),
        key(version="10.7.0"),
        key(library="tensorrt_rtx"),
        key(card=card | {"multiprocessors": 16}),
        key(card=card | {"compute_capability": "8.9"}),
        key(card=card | {"name": "Thor"}),
        key(card={}),
    ]
    assert len({key(), *others}) == len(others) + 1
    assert key(card=card | {"cuda_driver": "12.8"}) == key()


def test_two_networks_of_one_shape_never_share_an_engine(rtx: TensorRT, tmp_path: Path) -> None:
    def scaled(name: str, factor: float) -> Path:
        weights = [
            helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
            helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor]),
        ]
        nodes = [mean(out="a"), helper.make_node("Mul", ["a", "factor"], ["logits"], name="scale")]
        return tiny(tmp_path / name, nodes, weights=weights)

    paths = [scaled("a.onnx", 1.5), scaled("b.onnx", 2.5)]
    assert len({p.stat().st_size for p in paths}) == 1
    assert len({cached_engine(p, tmp_path / "engines", options=FEW, library=rtx) for p in paths}) == 2


def test_a_sidecar_is_bound_to_its_engine(rtx: TensorRT, tmp_path: Path) -> None:
    engine = tmp_path / "e.engine"
    build_engine(tiny(tmp_path / "a.onnx", [mean()]), engine, options=FEW, library=rtx)
    whole, sidecar = engine.read_bytes(), sidecar_of(engine)
    text = sidecar.read_text()
    engine.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError, match="its bytes are not those"):
        read_sidecar(engine)
    engine.write_bytes(whole)
    content = json.loads(text)
    for changed in (
        content | {"tensorrt": "11.4"},
        content | {"options": content["options"] | {"tf32": True}},
        {k: v for k, v in content.items() if k != "gpu"},
        content | {"more": 1},
    ):
        sidecar.write_text(json.dumps(changed))
        with pytest.raises(UserError, match="was changed"):
            read_sidecar(engine)
    for broken, said in (
        ("{", "not an engine's sidecar"),
        ("[]", "not an engine's"),
        ('{"format": 2, "sha256": ""}', "format 2"),
    ):
        sidecar.write_text(broken)
        with pytest.raises(UserError, match=said):
            read_sidecar(engine)
    sidecar.unlink()
    assert read_sidecar(engine) is None


def test_an_unwritable_place(rtx: TensorRT, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        build_engine(tiny(tmp_path / "a.onnx", [mean()]), tmp_path / "no" / "e.engine", options=FEW, library=rtx)
    assert os.listdir(tmp_path) == ["a.onnx"]


def test_a_build_that_fails_late_leaves_the_old_engine(
    rtx: TensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, path = tmp_path / "e.engine", tiny(tmp_path / "a.onnx", [mean()])
    made = build_engine(path, engine, options=FEW, library=rtx)

    def unreadable(source: Path) -> dict[str, str]:
        raise UserError(f"{source}: gone")

    monkeypatch.setattr(tensorrt_build, "onnx_metadata", unreadable)
    with pytest.raises(UserError, match="gone"):
        build_engine(path, engine, options=replace(FEW, max_batch=4), library=rtx)
    assert read_sidecar(engine) == made


def test_metadata_without_the_package_onnx(files: dict[str, Path], tmp_path: Path) -> None:
    """Held against onnx's own reading."""
    for path in (*files.values(), tiny(tmp_path / "none.onnx", [mean()])):
        assert onnx_metadata(path) == {p.key: p.value for p in onnx.load(path).metadata_props}
    whole = files["fp32"].read_bytes()
    assert onnx_metadata(files["fp32"])["edgexai.arch"] == "lisa_cnn"
    for cut in range(1, 60):
        (tmp_path / "cut.onnx").write_bytes(whole[:-cut])
        try:
            onnx_metadata(tmp_path / "cut.onnx")
        except UserError as error:
            assert "not an ONNX file" in str(error)  # noqa: PT017
    (tmp_path / "cut.onnx").write_bytes(b"\xff" * 40)
    with pytest.raises(UserError, match="not an ONNX file"):
        onnx_metadata(tmp_path / "cut.onnx")


def test_placement_counts_nodes() -> None:
    def layer(name: str, kind: str, nodes: int) -> dict[str, Any]:
        return {"Name": name, "LayerType": kind, "Metadata": "\x1e".join(f"[ONNX Layer: n{k}]" for k in range(nodes))}

    layers = [
        layer("to nvm", "Reformat", 0),
        layer("{ForeignNode[conv_0...relu_5]}", "DLA", 6),
        layer("from nvm", "Reformat", 0),
        layer("cam", "Myelin", 1),
        layer("no metadata", "ElementWise", 0),
    ]
    found = placement(json.dumps({"Layers": layers, "Bindings": ["images", "logits"]}))
    assert (found.dla, found.gpu, found.moves) == (
        ("{ForeignNode[conv_0...relu_5]}",),
        ("cam", "no metadata"),
        2,
    )
    assert (found.dla_nodes, found.gpu_nodes, found.fallback_share) == (6, 2, 0.25)
    assert placement(json.dumps({"Layers": layers[3:]})).fallback_share == 1.0
    assert placement(json.dumps({"Layers": layers[1:2]})).fallback_share == 0.0
    for wrong in ("", "{}", "[]", json.dumps({"Layers": ["conv_0", "relu_0"]})):
        with pytest.raises(UserError):
            placement(wrong)
