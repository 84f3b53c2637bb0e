"""A user's own network on the whole path: train, mask, export, engine, measure; and once more after a change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

pytestmark = pytest.mark.slow

SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU()
        )
        self.head = nn.Linear(24, n_classes)

    def features(self, images):
        return self.convs((images - 0.4) / 0.3)

    def classify(self, features):
        return self.head(features.mean((2, 3)))

    def forward(self, images):
        return self.classify(self.features(images))

class Hidden(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.net = Net(n_classes)

    def forward(self, images):
        return self.net(images)

def make(n_classes, size):
    return Net(n_classes)

def hidden(n_classes, size):
    return Hidden(n_classes)
"""
RECIPE = """
title = "mine"
[data]
name = "signs"
per_class = 3
[model]
factory = "mine:{factory}"
feature_map = "{feature_map}"
[train]
method = "natural"
epochs = 1
batch_size = 32
{more}
[export]
saliency = "{saliency}"
calibration_images = 43
min_agreement = 0.0
[engine]
runtime = "onnxruntime"
[measure]
explainers = ["vg", {explainers}]
attacks = ["fgsm", "square", "noise"]
eps = ["8/255"]
n = 43
clean_n = 43
square_queries = 5
square_n = 5
explain_n = 4
"""
WAYS: dict[str, dict[str, str]] = {
    "shown": {
        "factory": "make", "feature_map": "linear_head", "saliency": "cam", "explainers": '"cam", "gradcam"', "more": ""
    },
    "masked": {
        "factory": "hidden", "feature_map": "none", "saliency": "none", "explainers": '"ig"',
        "more": '[prune]\nmethod = "masked"\namount = 0.5\nfinetune_epochs = 1',
    },
}  # fmt: skip


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("EDGEXAI_")}
    here = Path(__file__).resolve().parents[2]
    environment = {**kept, "EDGEXAI_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(here)}
    # not -m, which would put the folder on the path: edgexai itself must look there
    code = "import sys; sys.path = [p for p in sys.path if p]; from edgexai.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / "home" / "runs" / name / "latest" / "measurements.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def built(text: str) -> set[str]:
    """Stages that were computed, by what the run said."""
    return {line.split("]")[1].split("[")[0].split(":")[0].strip() for line in text.splitlines() if ": done in" in line}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder a user works in, with a module and two recipes that have run."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "mine.py").write_text(SOURCE)
    for name, way in WAYS.items():
        (folder / f"{name}.toml").write_text(RECIPE.format(**way))
        done = run(folder, "recipe", "run", f"{name}.toml")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "train" in built(done.stderr)
    return folder


@pytest.mark.parametrize(("name", "arms"), [("shown", {"natural"}), ("masked", {"natural", "pruned"})])
def test_the_whole_path(work: Path, name: str, arms: set[str]) -> None:
    found = rows(work, name)
    assert {row["arm"] for row in found} == arms
    last = "natural" if name == "shown" else "pruned"
    for artefact in ("fp32", "int8-tensorrt", "int8-x86"):
        have = {r["metric"] for r in found if (r["arm"], r["artefact"]) == (last, artefact) and r["value"] is not None}
        assert {"clean_acc", "robust_acc", "agreement", "latency_ms", "size_bytes"} <= have
    agreed = [r["value"] for r in found if (r["metric"], r["artefact"]) == ("agreement", "fp32")]
    assert set(agreed) == {1.0}
    # 16 x 16 x 16 x 27 + 8 x 8 x 24 x 144 + 24 x 43; masks take no multiply-adds away
    macs = {row["value"] for row in found if row["metric"] == "macs"}
    assert macs == {16 * 16 * 16 * 27 + 8 * 8 * 24 * 144 + 24 * 43}
    explained = {r["detail"].get("explainer") for r in found if r["metric"] == "saliency_gini"}
    assert explained >= ({"vg", "cam", "gradcam"} if name == "shown" else {"vg", "ig"})


def test_the_engine_computes_what_the_users_module_computes(work: Path) -> None:
    import importlib.util

    import torch
    from safetensors.torch import load_file

    spec = importlib.util.spec_from_file_location("mine_for_the_test", work / "mine.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net = module.make(43, 32).eval()
    [stored] = [
        p.parent for p in (work / "home" / "store" / "train").glob("*/arch.json") if "mine:make" in p.read_text()
    ]
    state = load_file(stored / "weights.safetensors")
    net.load_state_dict({k.removeprefix("body."): v for k, v in state.items() if k.startswith("body.")})
    images = np.random.default_rng(0).random((7, 3, 32, 32), dtype=np.float32)
    engine = onnxruntime.InferenceSession(
        str(work / "home" / "runs" / "shown" / "latest" / "engine" / "fp32.onnx"), providers=["CPUExecutionProvider"]
    )
    logits, saliency = engine.run(["logits", "saliency"], {"images": images})
    with torch.no_grad():
        np.testing.assert_allclose(logits, net(torch.from_numpy(images)).numpy(), atol=1e-4)
    assert saliency.shape == (7, 32, 32)


def test_a_changed_module_trains_again_and_an_unchanged_one_does_not(work: Path) -> None:
    again = run(work, "recipe", "run", "masked.toml")
    assert again.returncode == 0
    assert built(again.stderr) == set()
    try:
        (work / "mine.py").write_text(SOURCE.replace("- 0.4", "- 0.5"))
        done = run(work, "recipe", "run", "masked.toml", "--until", "prune")
        assert done.returncode == 0, done.stderr
        assert built(done.stderr) == {"train", "prune"}
    finally:
        (work / "mine.py").write_text(SOURCE)


def test_training_starts_from_the_weights(work: Path) -> None:
    """With no epoch it stays what it was, to the bit; with one it ends elsewhere."""
    import torch
    from safetensors.torch import load_file, save_file

    generator = torch.Generator().manual_seed(1)
    given = {
        "convs.0.weight": torch.randn(16, 3, 3, 3, generator=generator) / 5,
        "convs.3.weight": torch.randn(24, 16, 3, 3, generator=generator) / 12,
        "head.weight": torch.randn(43, 24, generator=generator) / 5,
    }
    sizes = {"convs.0.bias": 16, "convs.3.bias": 24, "head.bias": 43, "convs.1.bias": 16, "convs.1.running_mean": 16}
    given |= {name: torch.zeros(size) for name, size in sizes.items()}
    given |= {"convs.1.weight": torch.ones(16), "convs.1.running_var": torch.ones(16)}
    given["convs.1.num_batches_tracked"] = torch.tensor(0)
    save_file(given, work / "start.safetensors")
    found = {}
    for epochs in (0, 1):
        before = set((work / "home" / "store" / "train").glob("*/weights.safetensors"))
        words = ["model.weights=start.safetensors", f"train.epochs={epochs}"]
        done = run(work, "recipe", "run", "shown.toml", *words, "--until", "train")
        assert done.returncode == 0, done.stderr
        [new] = set((work / "home" / "store" / "train").glob("*/weights.safetensors")) - before
        found[epochs] = load_file(new)
    for name, value in given.items():
        assert torch.equal(found[0][f"body.{name}"], value), name
    assert not torch.equal(found[1]["body.head.weight"], given["head.weight"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.factory=gone:make", 'no module "gone"'),
        ("model.factory=mine:gone", 'has no "gone"'),
        ("model.factory=mine:hidden", "no features and no classify"),
        ("model.weights=gone.safetensors", "cannot be read"),
        ("prune.method=channel", "no widths that edgexai could narrow"),
    ],
)
def test_faults_end_without_a_traceback(work: Path, override: str, words: str) -> None:
    done = run(work, "recipe", "run", "shown.toml", override)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
