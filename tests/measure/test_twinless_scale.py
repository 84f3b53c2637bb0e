"""Minutes: 100,000 images in bounded memory, shares on a local Ray cluster, and a network that somebody else made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_files import classifier, colours
from PIL import Image

from edgexai.cli.main import main
from edgexai.data.signs import render
from edgexai.measure.twinless_rows import TIMED
from edgexai.types import Row

GIB = 1 << 30
SIDE = 96
STARTED_BY_A_SMALL_PROCESS = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss * 1024, used.ru_utime + used.ru_stime)
sys.exit(code)
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EDGEXAI_DATA", raising=False)
    return tmp_path / "home"


def rows_of(path: Path) -> list[Row]:
    return [Row.from_json(line) for line in path.read_text().splitlines()]


def many(root: Path, home: Path, *, n: int) -> None:
    """``n`` test images of 96 x 96 pixels (as bytes 2.6 GiB), links to a few files, and their card."""
    draws = np.random.default_rng(0)
    for side, each in (("train", 4), ("val", 2), ("test", n // 2)):
        for label, name in enumerate(("dark", "light")):
            folder = root / side / name
            folder.mkdir(parents=True)
            kept = []
            for k in range(min(each, 50)):
                pixels = draws.integers(100 * label, 100 * label + 90, (SIDE, SIDE, 3), dtype=np.uint8)
                kept.append(folder / f"{k:06d}.bmp")
                Image.fromarray(pixels).save(kept[-1])
            for k in range(len(kept), each):
                os.link(kept[k % len(kept)], folder / f"{k:06d}.bmp")
    (home / "datasets").mkdir(parents=True)
    splits = "".join(
        f'[[splits]]\nname = "{s}"\nuse = "{use}"\nabout = "x"\n'
        for s, use in (("train", "train"), ("val", "choose"), ("test", "test"))
    )
    (home / "datasets" / "many.toml").write_text(
        'title = "many"\nkind = "photographs"\nsource = "x"\nlicence = "x"\ncitation = "none"\n'
        f'classes = ["dark", "light"]\n{splits}[own]\npath = "{root}"\nlayout = "folders"\n'
    )


@pytest.mark.slow
def test_a_hundred_thousand_images_in_one_and_a_half_gibibytes(tmp_path: Path, home: Path) -> None:
    many(tmp_path / "many", home, n=100_000)
    model, out = tmp_path / "m.onnx", tmp_path / "rows.jsonl"
    two_outputs(model)
    options = ["--data", "many", "--attacks", "noise", "--explainers", "none", "--corruptions", "none"]
    command = [sys.executable, "-m", "edgexai", "measure", str(model), *options, "--out", str(out)]
    # A child starts with the peak of who started it, so a small process stands between this one and the command.
    between = [sys.executable, "-c", STARTED_BY_A_SMALL_PROCESS, *command]
    env = {**os.environ, "EDGEXAI_HOME": str(home)}
    child = subprocess.run(between, env=env, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    peak, seconds = map(float, child.stdout.split())
    clean = [row for row in rows_of(out) if row.metric == "clean_acc"]
    assert [(row.n, row.value) for row in clean] == [(100_000, 1.0)]
    sys.stdout.write(f"peak {peak / GIB:.2f} GiB, {seconds:.0f} s of processor\n")
    assert peak >= 0.1 * GIB  # numpy, onnxruntime and a few blocks of images: less was not the command's
    assert peak <= 1.5 * GIB


def two_outputs(path: Path) -> None:
    """Dark or light: the mean of all channels against a threshold between the two."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "w", "b"], ["logits"]),
    ]
    weights = np.array([[0, 1], [0, 1], [0, 1]], np.float32)
    graph = helper.make_graph(
        nodes,
        "light",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [
            numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.array([3 * 95 / 255, 0], np.float32), "b"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


@pytest.mark.slow
def test_a_ray_cluster_gives_the_rows_of_one_process(tmp_path: Path, home: Path) -> None:
    pytest.importorskip("ray")
    assert main(["data", "add", "colours", str(colours(tmp_path / "colours"))]) == 0
    options = [
        *("--data", "colours", "--attack-n", "9", "--square-n", "6", "--square-queries", "20", "--explain-n", "9"),
        *("--rise-masks", "64", "--corruptions", "fog", "--corruption-n", "9"),
    ]
    command = [sys.executable, "-m", "edgexai", "measure", str(classifier(tmp_path / "m.onnx")), *options]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env = {**kept, "EDGEXAI_HOME": str(home), "RAY_worker_niceness": "0", "RAY_ADDRESS": "local"}
    ray = [*command, "--launcher", "ray", "--workers", "2", "--out", str(tmp_path / "ray.jsonl")]
    said = subprocess.run(ray, env=env, capture_output=True, text=True, timeout=900, check=False)
    assert said.returncode == 0, said.stderr
    by_ray = sorted(path.name for path in home.glob("measure/*/*.npz"))
    for path in home.glob("measure/*/*.npz"):
        path.unlink()
    assert main([*command[3:], "--out", str(tmp_path / "one.jsonl")]) == 0
    assert sorted(path.name for path in home.glob("measure/*/*.npz")) == by_ray
    one, many_ = (
        [row.to_json() for row in rows_of(tmp_path / f"{name}.jsonl") if row.metric not in TIMED]
        for name in ("one", "ray")
    )
    assert one == many_


@pytest.mark.slow
def test_a_network_that_somebody_else_made_is_measured_end_to_end(tmp_path: Path) -> None:
    """torchvision's ResNet of ten layers, trained on signs outside edgexai, with its own normalisation and size."""
    from torchvision.models.resnet import BasicBlock, ResNet

    signs = render(name="signs", size=48, per_class=24, seed=3, stages=("train",))["train"]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.manual_seed(0)
    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=43)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3)
    inputs = (torch.from_numpy(signs.as_float()) - mean[:, None, None]) / std[:, None, None]
    labels = torch.from_numpy(signs.labels)
    net.train()
    for _ in range(7):
        for batch in torch.randperm(len(labels)).split(64):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(net(inputs[batch]), labels[batch]).backward()
            optimiser.step()
    net.eval()
    path, out = tmp_path / "resnet10.onnx", tmp_path / "rows.jsonl"
    sizes = {"x": {0: torch.export.Dim("batch")}}
    torch.onnx.export(net, (inputs[:2],), dynamo=True, dynamic_shapes=sizes, external_data=False).save(path)
    options = [
        *("--data", "signs", "--n", "430", "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"),
        *("--attack-n", "100", "--square-n", "20", "--square-queries", "50", "--explain-n", "16"),
        *("--rise-masks", "100", "--corruptions", "fog,contrast", "--corruption-n", "43"),
    ]
    folder = tmp_path / "run"
    assert main(["measure", str(path), *options, "--out", str(out), "--report", str(folder)]) == 0
    rows = rows_of(out)
    clean = next(row for row in rows if row.metric == "clean_acc")
    test = render(name="signs", size=48, per_class=None, seed=0, stages=("test",))["test"]
    index = np.sort(np.random.default_rng([0, 31]).permutation(len(test))[:430])
    with torch.no_grad():
        given = (torch.from_numpy(test.take(index).as_float()) - mean[:, None, None]) / std[:, None, None]
        right = (net(given).argmax(1).numpy() == test.labels[index]).mean()
    assert clean.value is not None
    assert abs(clean.value - right) <= 2 / 430  # the same decisions but for ties in rounding
    assert clean.value > 5 / 43  # it has learned something, else the rest would say nothing
    located = {str(row.detail["explainer"]) for row in rows if row.metric == "roi_share" and row.value is not None}
    assert located == {"lime", "rise", "occlusion", "random", "centre_gaussian"}
    assert (folder / "report.html").stat().st_size > 10_000
    # With the wrong preprocessing it is another classifier: the options reach the network.
    assert main(["measure", str(path), "--data", "signs", "--n", "430", "--attacks", "none", "--explainers", "none",
                 "--corruptions", "none", "--out", str(tmp_path / "bare.jsonl")]) == 0  # fmt: skip
    bare = next(row for row in rows_of(tmp_path / "bare.jsonl") if row.metric == "clean_acc")
    assert bare.value is not None
    assert bare.value < clean.value
