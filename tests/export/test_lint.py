"""The linter: lets through what edgexai exports, names what TensorRT refuses, and agrees with NVIDIA's own parser."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_static
from test_export_onnx import POOLED, images

from edgexai.cli.main import main
from edgexai.errors import UserError
from edgexai.export.fp16 import to_fp16
from edgexai.export.int8 import _Reader, quantise
from edgexai.export.lint import lint, refuse_unfit
from edgexai.export.operators import REFUSED, TAKEN, VERSIONS
from edgexai.models import ARCHITECTURES


def parser_takes(path: Path) -> tuple[bool, list[str]]:
    """What NVIDIA's parser says; it needs no GPU."""
    trt = pytest.importorskip("tensorrt_rtx")
    if sys.platform != "linux":
        pytest.skip("TensorRT-RTX is tried on Linux only")
    log = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(log)
    strongly = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if strongly is None else 1 << int(strongly))
    parser = trt.OnnxParser(network, log)
    taken = bool(parser.parse(path.read_bytes()))
    return taken, [parser.get_error(k).desc() for k in range(parser.num_errors)]


def board_files(name: str, saliency: str, exported: Callable[..., Any], folder: Path) -> dict[str, Path]:
    _, fp32 = exported(name, saliency)
    files = {"fp32": fp32, "fp16": folder / "fp16.onnx", "int8-tensorrt": folder / "int8.onnx"}
    to_fp16(fp32, files["fp16"], metadata={})
    quantise(fp32, files["int8-tensorrt"], flavour="int8-tensorrt", images=images(8), metadata={})
    return files


SHIPPED = [(name, s) for name in ARCHITECTURES for s in ("cam", "gradient", "none") if name in POOLED or s != "cam"]
FAST = [("lisa_cnn", "none")]


@pytest.mark.parametrize(
    ("name", "saliency"),
    [case if case in FAST else pytest.param(*case, marks=pytest.mark.slow) for case in SHIPPED],
)
def test_what_we_export_passes(name: str, saliency: str, exported: Callable[..., Any], tmp_path: Path) -> None:
    for path in board_files(name, saliency, exported, tmp_path).values():
        assert lint(onnx.load(path), strict=True) == []
        refuse_unfit(path, strict=True)


@pytest.mark.trt
@pytest.mark.parametrize(
    ("name", "saliency"),
    [case if case in FAST else pytest.param(*case, marks=pytest.mark.slow) for case in SHIPPED],
)
def test_the_parser_takes_what_we_export(
    name: str, saliency: str, exported: Callable[..., Any], tmp_path: Path
) -> None:
    for artefact, path in board_files(name, saliency, exported, tmp_path).items():
        taken, errors = parser_takes(path)
        assert taken, (artefact, errors)


# Bad files, one a rule: a small graph with one node at fault, called "bad".


def model(
    *nodes: Any, constants: dict[str, Any] | None = None, opset: int = 18, ir: int = 10, **kinds: int
) -> ModelProto:
    """images (b,3,8,8) -> nodes -> out; ``kinds``: element types of graph outputs by name, float otherwise."""
    outputs = kinds or {"out": TensorProto.FLOAT}
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["b", 3, 8, 8])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)], ir_version=ir
    )


def node(op: str, inputs: str, outputs: str = "out", name: str = "bad", **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), outputs.split(), name=name, **attributes)


SCALE = {"s": np.float32(0.1)}
WEIGHT = np.ones((4, 3, 1, 1), np.float32)


def qdq(zero: Any) -> ModelProto:
    return model(
        node("QuantizeLinear", "images s z", "q"),
        node("DequantizeLinear", "q s z", name="bad2"),
        constants={**SCALE, "z": zero},
    )


BAD: dict[str, tuple[ModelProto, str, str, bool | None]] = {
    # what -> file, node, words of the complaint, whether NVIDIA's parser refuses it too (None: not asked)
    "int32 bias": (
        model(
            node("DequantizeLinear", "b s zb", "bias"),
            node("Conv", "images w bias", name="conv"),
            constants={**SCALE, "b": np.ones(4, np.int32), "zb": np.int32(0), "w": WEIGHT},
        ),
        "bad",
        "int32",
        True,
    ),
    "zero point": (qdq(np.int8(3)), "bad", "zero point", True),
    "unsigned": (qdq(np.uint8(0)), "bad", "UINT8", False),
    "unsigned by default": (
        model(node("QuantizeLinear", "images s", "q"), node("DequantizeLinear", "q s", name="bad2"), constants=SCALE),
        "bad",
        "UINT8",
        None,
    ),
    "scale 0": (
        model(
            node("QuantizeLinear", "images s z", "q"),
            node("DequantizeLinear", "q s z", name="bad2"),
            constants={"s": np.float32(0), "z": np.int8(0)},
        ),
        "bad",
        "not positive",
        None,
    ),
    "QOperator": (
        model(
            node("QuantizeLinear", "images s z", "q", name="fine"),
            node("QLinearConv", "q s z w s z s z", "r"),
            node("DequantizeLinear", "r s z", name="fine2"),
            constants={**SCALE, "z": np.int8(0), "w": np.ones((4, 3, 1, 1), np.int8)},
        ),
        "bad",
        "QLinearConv",
        True,
    ),
    "pool with indices": (
        model(
            node("MaxPool", "images", "out where", kernel_shape=[2, 2], strides=[2, 2]),
            out=TensorProto.FLOAT,
            where=TensorProto.INT64,
        ),
        "bad",
        "Indices",
        True,
    ),
    "dilated pool": (
        model(node("MaxPool", "images", kernel_shape=[2, 2], dilations=[2, 2])), "bad", "dilated", None
    ),
    "non zero": (model(node("NonZero", "images"), out=TensorProto.INT64), "bad", "the data decides", True),
    "foreign domain": (model(node("Gelu", "images", domain="com.microsoft")), "bad", "com.microsoft", False),
    "unknown operator": (model(node("Unique", "images"), ), "bad", "does not take Unique", True),
    "integers": (
        model(node("BitwiseNot", "i"), node("Cast", "images", "i", name="cast", to=TensorProto.INT32),
              out=TensorProto.INT32),
        "bad", "does not take BitwiseNot", True,
    ),
    "double": (
        model(node("Cast", "images", "d", name="cast", to=TensorProto.DOUBLE), node("Relu", "d"),
              out=TensorProto.DOUBLE),
        "bad", "reads DOUBLE", None,
    ),
    "axes as attribute": (model(node("ReduceMean", "images", axes=[2, 3])), "bad", "axes as an attribute", None),
    "axes computed": (
        model(node("Shape", "images", "a", name="shape"), node("ReduceMean", "images a")), "bad", "computed", None
    ),
    "cubic": (
        model(node("Resize", "images  f".replace("  ", " r "), mode="cubic"),
              constants={"r": np.zeros(0, np.float32), "f": np.array([1, 1, 2, 2], np.float32)}),
        "bad", "cubic", None,
    ),
    "scatter": (
        model(
            node("ScatterND", "images i u", reduction="add"),
            constants={"i": np.zeros((1, 4), np.int64), "u": np.zeros(1, np.float32)},
        ),
        "bad",
        "reduction",
        None,
    ),
    "top k": (
        model(node("TopK", "images k", "out where", sorted=0), constants={"k": np.array([1])},
              out=TensorProto.FLOAT, where=TensorProto.INT64),
        "bad", "sorted", None,
    ),
    "old opset": (model(node("Relu", "images"), opset=17), "model", "opset 17", False),
    "new opset": (model(node("Relu", "images"), opset=21), "model", "opset 21", False),
    "IR": (model(node("Relu", "images"), ir=11), "model", "IR version 11", None),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_refused_with_its_node(what: str, tmp_path: Path) -> None:
    bad, name, words, _ = BAD[what]
    path = tmp_path / "bad.onnx"
    onnx.save(bad, path)
    found = lint(bad)
    assert name in [one.node for one in found]
    assert not [one for one in found if one.node in ("fine", "fine2", "cast", "conv", "shape")]
    assert words in next(one.what for one in found if one.node == name)
    with pytest.raises(UserError) as caught:
        refuse_unfit(path)
    said = str(caught.value)
    assert ('node "bad"' if name == "bad" else "model:") in said
    assert "allowed:" in said


@pytest.mark.trt
@pytest.mark.parametrize("what", [what for what, (*_, refused) in BAD.items() if refused is not None])
def test_the_parser_refuses_what_we_say_it_refuses(what: str, tmp_path: Path) -> None:
    """False in the table: our rule is stricter than this parser, knowingly."""
    bad, *_, refused = BAD[what]
    onnx.save(bad, tmp_path / "bad.onnx")
    assert parser_takes(tmp_path / "bad.onnx")[0] is not refused


@pytest.mark.trt
@pytest.mark.slow
def test_onnx_runtimes_own_int8_is_refused_by_both(exported: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "qdq.onnx"
    quantize_static(
        str(exported("lisa_cnn", "none")[1]),
        str(path),
        _Reader(images(8)),
        per_channel=True,
        activation_type=QuantType.QInt8,
    )
    found = lint(onnx.load(path))
    assert any("int32" in one.what for one in found)
    assert not parser_takes(path)[0]


@pytest.mark.trt
def test_the_table_agrees_with_the_parsers_own_list() -> None:
    """TensorRT-RTX shares the code of the 11 line."""
    trt = pytest.importorskip("tensorrt_rtx")
    log = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    assert [op for op in TAKEN["11.4"] if not parser.supports_operator(op)] == []
    assert [op for op in REFUSED["11.4"] if parser.supports_operator(op)] == []


def test_tables_do_not_contradict_themselves() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    for version in VERSIONS:
        assert not set(TAKEN[version]) & REFUSED[version]
        assert (set(TAKEN[version]) | REFUSED[version]) <= known
    assert set(TAKEN["10.3"]) <= set(TAKEN["10.13"])


def test_what_is_not_confirmed_is_refused_only_where_strict() -> None:
    new = model(node("RMSNormalization", "images w"), constants={"w": np.ones(8, np.float32)}, opset=20)
    assert lint(new) == []
    assert [one.node for one in lint(new, strict=True)] == ["bad"]
    assert lint(new, versions=["11.4"], strict=True) == []
    window = model(node("HannWindow", "n"), constants={"n": np.int64(4)})
    assert [one.what for one in lint(window)] == ["TensorRT 10.3 does not take HannWindow"]
    assert lint(window, versions=["10.13", "11.4"]) == []
    with pytest.raises(UserError, match=r"10\.3, 10\.13, 11\.4"):
        lint(new, versions=["8.6"])


def test_a_node_without_a_name_is_counted() -> None:
    assert [one.node for one in lint(model(node("Relu", "images", "r"), node("NonZero", "r", name="")))] == ["number 1"]


def test_the_command_ends_with_0_or_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.onnx", tmp_path / "bad.onnx"
    onnx.save(model(node("Relu", "images")), good)
    onnx.save(BAD["pool with indices"][0], bad)
    assert main(["lint", str(good)]) == 0
    assert "known to refuse" in capsys.readouterr().out
    assert main(["lint", str(bad), "--tensorrt", "10.3"]) == 2
    assert 'node "bad" (MaxPool): has a second output' in capsys.readouterr().err
    assert main(["lint", str(tmp_path / "none.onnx")]) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("left", [0, 1])
def test_a_node_without_its_inputs_is_refused_in_words(place: int, left: int, tmp_path: Path) -> None:
    whole = qdq(np.int8(0))
    del whole.graph.node[place].input[left:]
    onnx.save(whole, tmp_path / "m.onnx")
    with pytest.raises(UserError, match=r"inputs|contradicts"):
        refuse_unfit(tmp_path / "m.onnx")


def test_damaged_files_are_refused_or_passed_and_never_end_in_a_traceback(tmp_path: Path) -> None:
    """A byte of the file changed at a time: whatever onnx makes of it, the answer is in words."""
    whole = qdq(np.int8(0)).SerializeToString()
    rng, refused = np.random.default_rng(0), 0
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] = rng.integers(256)
        (tmp_path / "m.onnx").write_bytes(changed)
        try:
            refuse_unfit(tmp_path / "m.onnx")
        except UserError:
            refused += 1
    assert refused > 50


def test_what_is_no_onnx_file(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(UserError, match="not an ONNX file"):
        refuse_unfit(path)
