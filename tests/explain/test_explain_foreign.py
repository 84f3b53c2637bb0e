"""Foreign ONNX files: explained as the plain computation says, or refused in words; never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgexai.cli.main import main
from edgexai.data.picture import read_picture
from edgexai.engine.foreign import ForeignOnnx, Preprocessing
from edgexai.errors import ShapeError, UserError

SIZE, CLASSES = 16, 4
WEIGHT = np.random.default_rng(0).normal(size=(CLASSES, 3)).astype(np.float32)


def reference(images):
    """Logits of the graph below: a linear layer on the global average."""
    return images.mean((2, 3)) @ WEIGHT.T


def write(
    path: Path,
    *,
    layout: str = "nchw",
    softmax: bool = False,
    batch: int | str = "batch",
    sides: tuple[int | str, int | str] = (SIZE, SIZE),
    dtype: int = TensorProto.FLOAT,
    extra_input: bool = False,
    extra_output: bool = False,
    reshape: bool = False,
    channels: int | str = 3,
    metadata: dict[str, str] | None = None,
    external: bool = False,
) -> Path:
    """A tiny classifier: mean over the sides, then a matrix."""
    shape = [batch, channels, *sides] if layout == "nchw" else [batch, *sides, channels]
    weight = WEIGHT if channels in (3, "c") else np.ones((CLASSES, int(channels)), np.float32)
    axes = [2, 3] if layout == "nchw" else [1, 2]
    nodes = [
        helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "weight"], ["logits"]),
    ]
    last = "logits"
    if softmax:
        nodes.append(helper.make_node("Softmax", [last], ["shares"], axis=1))
        last = "shares"
    if reshape:
        nodes.append(helper.make_node("Unsqueeze", [last, "tail"], ["wide"]))
        last = "wide"
    nodes.append(helper.make_node("Identity", [last], ["answer"]))
    outputs = [helper.make_tensor_value_info("answer", TensorProto.FLOAT, None)]
    inputs = [helper.make_tensor_value_info("x", dtype, shape)]
    if extra_input:
        nodes.append(helper.make_node("Add", ["answer", "y"], ["sum"]))
        inputs.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1]))
        outputs = [helper.make_tensor_value_info("sum", TensorProto.FLOAT, None)]
    if extra_output:
        outputs.insert(0, helper.make_tensor_value_info("float", TensorProto.FLOAT, None))
    graph = helper.make_graph(
        nodes,
        "tiny",
        inputs,
        outputs,
        [
            numpy_helper.from_array(np.ascontiguousarray(weight.T), "weight"),
            numpy_helper.from_array(np.array(axes, np.int64), "axes"),
            numpy_helper.from_array(np.array([2, 3], np.int64), "tail"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path, save_as_external_data=external, location="weights.bin", size_threshold=0)
    return path


@pytest.fixture
def pictures():
    return np.random.default_rng(1).random((5, 3, SIZE, SIZE), dtype=np.float32)


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(2).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


GOOD = {
    "nchw": {},
    "nhwc": {"layout": "nhwc"},
    "softmax": {"softmax": True},
    "fixed batch of 1": {"batch": 1},
    "fixed batch of 3": {"batch": 3},
    "nhwc softmax fixed": {"layout": "nhwc", "softmax": True, "batch": 2},
    "two outputs": {"extra_output": True},
    "output (N,K,1,1)": {"reshape": True},
    "float16": {"dtype": TensorProto.FLOAT16},
}


@pytest.mark.parametrize("name", GOOD)
def test_a_foreign_file_answers_as_the_plain_computation(name, tmp_path, pictures):
    engine = ForeignOnnx(write(tmp_path / "m.onnx", **GOOD[name]), threads=1)
    kept = pictures.copy()
    logits, wanted = engine(pictures), reference(pictures)
    assert engine.classes == CLASSES
    assert engine.size == (SIZE, SIZE)
    assert logits.dtype == np.float32
    if "softmax" in name:
        assert engine.answer == "probabilities"
        np.testing.assert_allclose(np.exp(logits).sum(1), 1, atol=1e-4)
        wanted = wanted - np.log(np.exp(wanted).sum(1, keepdims=True))
    np.testing.assert_allclose(logits, wanted, atol=2e-3 if name == "float16" else 1e-5)
    assert np.array_equal(pictures, kept)


def test_whole_numbers_and_preprocessing(tmp_path, pictures):
    as_bytes = ForeignOnnx(write(tmp_path / "u8.onnx", dtype=TensorProto.UINT8), threads=1)
    np.testing.assert_allclose(as_bytes(pictures), reference(np.rint(pictures * 255)), rtol=1e-4, atol=1e-3)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)
    wanted = reference((pictures - np.reshape(mean, (1, 3, 1, 1))) / np.reshape(std, (1, 3, 1, 1)))
    for path, prepare in (
        (write(tmp_path / "a.onnx"), Preprocessing(mean=mean, std=std)),
        (write(tmp_path / "b.onnx", layout="nhwc"), Preprocessing(mean=mean, std=std)),
        (write(tmp_path / "c.onnx", metadata={"mean": "0.4,0.5,0.6", "std": "[0.2, 0.25, 0.5]"}), None),
    ):
        np.testing.assert_allclose(ForeignOnnx(path, prepare=prepare, threads=1)(pictures), wanted, atol=1e-4)
    free = write(tmp_path / "free.onnx", sides=("h", "w"), metadata={"size": "16"})
    np.testing.assert_allclose(ForeignOnnx(free, threads=1)(pictures), reference(pictures), atol=1e-5)
    with pytest.raises(ShapeError, match="takes float32"):
        ForeignOnnx(free, threads=1)(pictures[:, :, :8])


def test_channels_named_last_are_seen_and_no_images_give_no_rows(tmp_path, pictures):
    last = write(tmp_path / "last.onnx", layout="nhwc", channels="c")
    engine = ForeignOnnx(last, threads=1)
    np.testing.assert_allclose(engine(pictures), reference(pictures), atol=1e-5)
    assert engine(pictures[:0]).shape == (0, CLASSES)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *(
            ("mean", text)
            for text in (
                "bright",
                '["a", "b", "c"]',
                "[[1], [2], [3]]",
                "NaN,0,0",
                "0.5",
                "{}",
                "1,2,3,4",
                '[1, "x", 2, 3]',
            )
        ),
        *(("std", text) for text in ("0,1,1", "[-1, 1, 1]", "true,true,true")),
        *(("size", text) for text in ("0", "-16", "true", "16.5", '["16", "16"]', "[16, 16, 16]", "99999999")),
        ("layout", "chwn"),
    ],
)
def test_metadata_that_make_no_sense_are_refused(key, text, tmp_path):
    path = write(tmp_path / "m.onnx", metadata={key: text})
    with pytest.raises(UserError, match=f"give --{key}"):
        ForeignOnnx(path, threads=1)


def test_an_edgexai_file_is_not_normalised_twice(tmp_path):
    path = write(tmp_path / "ours.onnx", metadata={"edgexai.arch": "signnet"})
    assert ForeignOnnx(path, threads=1).classes == CLASSES
    with pytest.raises(UserError, match="normalises inside"):
        ForeignOnnx(path, prepare=Preprocessing(mean=(0.5, 0.5, 0.5)), threads=1)


def _bad(folder: Path) -> dict[str, tuple[Path, str]]:
    whole = write(folder / "whole.onnx")
    (folder / "zero.onnx").write_bytes(b"")
    (folder / "cut.onnx").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (folder / "text.onnx").write_text("hello " * 100)
    (folder / "name.onnx").write_bytes(whole.read_bytes().replace(b"answer", b"answ\xffr"))
    lost = write(folder / "lost.onnx", external=True)
    (folder / "weights.bin").unlink()
    detector = helper.make_model(
        helper.make_graph(
            [helper.make_node("ReduceMean", ["x", "a"], ["y"], keepdims=0)],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.array([1], np.int64), "a")],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    onnx.save(detector, folder / "detector.onnx")
    ranked = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", ["x"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 10])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    onnx.save(ranked, folder / "rank.onnx")
    return {
        "absent": (folder / "none.onnx", "no such file"),
        "zero bytes": (folder / "zero.onnx", "empty"),
        "truncated": (folder / "cut.onnx", "cannot load"),
        "a name that is no text": (folder / "name.onnx", "damaged"),
        "not onnx": (folder / "text.onnx", "cannot load"),
        "external data missing": (lost, "file of their own"),
        "two inputs": (write(folder / "two.onnx", extra_input=True), "2 inputs"),
        "wrong rank": (folder / "rank.onnx", "shape"),
        "not a classifier": (folder / "detector.onnx", "one row of classes"),
        "one channel": (write(folder / "grey.onnx", channels=1), "no axis of 3 channels"),
        "any size": (write(folder / "any.onnx", sides=("h", "w")), "--size"),
        "whole numbers in": (write(folder / "i64.onnx", dtype=TensorProto.INT64), "wanted float"),
        "odd metadata": (write(folder / "odd.onnx", metadata={"mean": "bright"}), "--mean"),
    }


@pytest.mark.parametrize("name", [
    "absent", "zero bytes", "truncated", "not onnx", "external data missing", "two inputs", "wrong rank",
    "a name that is no text", "not a classifier", "one channel", "any size", "whole numbers in", "odd metadata",
])  # fmt: skip
def test_what_cannot_be_explained_is_refused_in_words(name, tmp_path, photo, capsys):
    cases = _bad(tmp_path)
    path, words = cases[name]
    assert main(["explain", str(path), str(photo), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert words in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--method", "limee"], 2, 'did you mean "lime"'),
        (["--preset", "tmll"], 2, "did you mean"),
        (["--method", "ig"], 3, "needs gradients"),
        (["--target", "4"], 2, "classes 0 to 3"),
        (["--size", "24"], 2, "not 24x24"),
        (["--size", "big"], 2, "--size big"),
        (["--mean", "a,b,c"], 2, "--mean"),
        (["--std", "0"], 2, "above 0"),
        (["--answer", "probabilities"], 2, "no probabilities"),
        (["--output", "other"], 2, 'no output "other"'),
        (["--labels", "/nonexistent/labels.txt"], 2, "cannot be read"),
        (["--method", "lime", "--preset", "fau"], 2, "segments, fewer than 8"),
        (["--method", "rise", "--samples", "20", "--sanity"], 3, "--sanity"),
    ],
)
def test_options_that_cannot_be_met_are_refused(options, code, words, tmp_path, photo, capsys):
    if "fau" in options:
        pytest.importorskip("skimage")
    path = write(tmp_path / "m.onnx")
    assert main(["explain", str(path), str(photo), "--out", str(tmp_path / "out"), *options]) == code
    assert words in capsys.readouterr().err


def test_pictures_that_cannot_be_read_are_refused(tmp_path, photo, capsys):
    path = write(tmp_path / "m.onnx")
    (tmp_path / "cut.png").write_bytes(photo.read_bytes()[:300])
    (tmp_path / "words.jpg").write_text("no picture")
    faults = {"cut.png": "cannot be read", "words.jpg": "known format", "no.png": "no such", ".": "is a folder"}
    for name, words in faults.items():
        assert main(["explain", str(path), str(tmp_path / name), "--out", str(tmp_path / "out")]) == 2
        assert words in capsys.readouterr().err
    assert main(["explain", str(tmp_path / "weights.pt"), str(photo)]) == 2
    assert "export it to ONNX" in capsys.readouterr().err


def test_pictures_of_any_kind_become_the_same_input(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    plain = read_picture(tmp_path / "a.png", (24, 24))
    np.testing.assert_allclose(plain, pixels.transpose(2, 0, 1) / np.float32(255))
    clear = Image.fromarray(np.dstack([pixels, np.full((24, 24), 255, np.uint8)]))
    clear.save(tmp_path / "b.webp", lossless=True)
    assert np.array_equal(read_picture(tmp_path / "b.webp", (24, 24)), plain)
    turned = Image.fromarray(np.rot90(pixels).copy())
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "c.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "c.png", (24, 24)), plain)
    grey = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    grey.save(tmp_path / "d.png")
    found = read_picture(tmp_path / "d.png", (24, 24))
    np.testing.assert_allclose(found[0], pixels[..., 0] / 255, atol=1e-6)
    assert np.array_equal(found[0], found[2])
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "e.png")
    assert read_picture(tmp_path / "e.png", (4, 4)).min() == 1.0
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    Image.fromarray(wide).save(tmp_path / "f.png")
    assert read_picture(tmp_path / "f.png", (10, 10)).min() == 1.0
    assert read_picture(tmp_path / "f.png", (10, 10), fit="squash").mean() < 0.6


def test_the_command_writes_what_it_says(tmp_path, photo, capsys):
    labels = tmp_path / "labels.txt"
    labels.write_text("stop\nyield\nlimit\nother\n")
    out = tmp_path / "out"
    words = ["explain", str(write(tmp_path / "m.onnx", softmax=True)), str(photo), str(photo), "--out", str(out)]
    words += ["--samples", "200", "--labels", str(labels), "--method", "lime,kernelshap,rise,occlusion,edges,centre"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((out / "explanations.json").read_text())
    assert [p["folder"] for p in told["images"]] == ["photo", "photo_2"]
    maps = np.load(out / "maps.npz")
    size = Image.open(out / "photo" / "lime.png").size
    assert min(size) >= 224
    for name in ("lime", "kernelshap", "rise", "occlusion", "edges", "centre"):
        assert maps[name].shape == (2, SIZE, SIZE)
        assert np.isfinite(maps[name]).all()
        assert (out / "photo_2" / f"{name}.png").is_file()
    for stage in ("lime_1_superpixels", "lime_2_perturbations", "lime_3_surrogate"):
        assert (out / "photo" / f"{stage}.png").is_file()
    assert Image.open(out / "sheet.png").width > 600
    lime = told["methods"]["lime"]
    assert lime["subject"] == "onnx file"
    assert lime["lime"]["segments"] == [49, 49]
    assert 0 <= lime["lime"]["stability"]["jaccard"][0] <= 1
    assert told["methods"]["rise"]["forwards_per_image"] == 200
    assert told["methods"]["edges"]["subject"] == "none"
    first = told["images"][0]
    assert first["target_name"] in ("stop", "yield", "limit", "other")
    image = read_picture(photo, (SIZE, SIZE))[None]
    shares = np.exp(reference(image))[0] / np.exp(reference(image)).sum()
    assert first["probability"] == pytest.approx(shares.max(), abs=1e-4)
    assert first["target"] == int(shares.argmax())
