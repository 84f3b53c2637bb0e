"""The agent as it travels: a zipapp in an interpreter that has NumPy and ONNX Runtime and nothing else of ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from small_bundle import SIZE, small_bundle

from edgexai.board.agent import VERSION, runtime
from edgexai.board.agent.measure import _drift
from edgexai.board.agent.picture import read_picture
from edgexai.board.agent_zip import agent_bytes, agent_modules
from edgexai.board.unpack import check_unpacked, unpack
from edgexai.engine.onnx_runtime import OnnxRuntimeEngine
from edgexai.errors import MissingCapability, UserError
from edgexai.measure.replay import Replay, replay_attacks, replay_explanations
from edgexai.measure.subject import Subject
from edgexai.probe.probe_set import read_probes
from edgexai.types import Row

ABSENT = [
    *("torch", "torchvision", "torch_pruning", "scipy", "pydantic", "onnx", "onnxscript", "captum", "safetensors"),
    *("typer", "rich", "jinja2", "PIL", "skimage", "tensorboard", "tomli", "lime", "matplotlib"),
    *("tensorrt", "tensorrt_rtx"),
]
"""What a Jetson need not have; an import of any of them fails in these tests."""


class Said(NamedTuple):
    code: int
    answer: dict[str, Any]
    err: str
    out: str


def agent(folder: Path, *words: str | Path, absent: list[str] = ABSENT, python: str = sys.executable) -> Said:
    """Runs ``folder``/agent.pyz from its own bytes alone."""
    code = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({absent!r}))\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    command = [python, "-I", "-c", code, str(folder / "agent.pyz"), *map(str, words)]
    kept = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=kept, timeout=300)
    last = done.stdout.splitlines()[-1] if done.stdout.strip() else "{}"
    return Said(done.returncode, json.loads(last) if last.startswith("{") else {}, done.stderr, done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("agent")
    unpack(small_bundle(place / "made"), place / "bundle")
    return place / "bundle"


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(folder, tmp_path / "bundle")
    return tmp_path / "bundle"


def places(folder: Path, state: Path) -> list[str]:
    return ["--bundle", str(folder), "--state", str(state), "--json"]


def another_python() -> str:
    """An interpreter of another version that starts; this one where there is none."""
    here = f"python3.{sys.version_info[1]}"
    found = [shutil.which(f"python3.{minor}") for minor in range(10, 16)]
    found += sorted(map(str, Path.home().glob(".pyenv/versions/3.1[0-9]*/bin/python3.1[0-9]")))
    for python in found:
        if python is None or Path(python).name == here:
            continue
        if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
            return python
    return sys.executable


def test_the_agent_is_the_same_bytes_in_another_interpreter() -> None:
    assert agent_bytes() == agent_bytes()
    code = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1]); sys.modules.update(dict.fromkeys(['numpy', 'torch']))\n"
    )
    code += "from edgexai.board.agent_zip import agent_bytes; sys.stdout.buffer.write(agent_bytes())"
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run([another_python(), "-I", "-c", code, root], capture_output=True, check=True, cwd="/")
    assert done.stdout == agent_bytes()


def test_the_agent_carries_what_it_measures_with_and_no_more() -> None:
    carried = set(agent_modules())
    assert {
        "edgexai.measure.replay",
        "edgexai.attack.square",
        "edgexai.explain.lime",
        "edgexai.probe.probe_set",
    } <= carried
    assert {"edgexai.engine.onnx_runtime", "edgexai.board.unpack", "edgexai.board.agent.main"} <= carried
    rooms = {name.split(".")[1] for name in carried if "." in name}
    assert not rooms & {"train", "prune", "export", "models", "data", "recipe", "report", "cli", "study", "bench"}
    assert "edgexai.config.recipe" not in carried
    assert "edgexai.engine.twin" not in carried


def test_a_module_that_a_board_cannot_import_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgexai.board import agent_zip

    found = agent_zip._imported
    monkeypatch.setattr(agent_zip, "_imported", lambda tree, *, entries: [*found(tree, entries=entries), "scipy.stats"])
    with pytest.raises(RuntimeError, match="imports scipy"):
        agent_modules()


def test_version_and_help(folder: Path) -> None:
    said = agent(folder, "--version")
    assert (said.code, said.out) == (0, f"edgexai agent {VERSION} (bundle format 1)\n")
    wrong = agent(folder, "frobnicate")
    assert wrong.code == 2
    assert all(verb in wrong.err for verb in ("doctor", "build", "verify", "measure", "classify"))


def test_doctor(folder: Path, tmp_path: Path) -> None:
    said = agent(folder, "doctor", *places(folder, tmp_path))
    assert said.code == 0, said.err
    assert said.answer["ok"] is True
    assert said.answer["facts"]["onnxruntime"]
    assert said.answer["facts"]["tensorrt"] == ""
    assert said.answer["runtime"].startswith("onnxruntime ")
    bare = agent(folder, "doctor", "--json", absent=[*ABSENT, "onnxruntime"])
    assert bare.code == 3
    assert bare.answer["ok"] is False
    assert any("no runtime" in problem for problem in bare.answer["problems"])


def test_without_numpy_or_runtime_it_says_so(folder: Path, tmp_path: Path) -> None:
    said = agent(folder, "verify", *places(folder, tmp_path), absent=[*ABSENT, "numpy"])
    assert said.code == 3
    assert said.answer["problems"] == ["NumPy is not installed"]
    assert "Traceback" not in said.err
    said = agent(folder, "measure", *places(folder, tmp_path), absent=[*ABSENT, "onnxruntime"])
    assert said.code == 3
    assert "no runtime" in said.answer["problems"][0]
    said = agent(folder, "verify", *places(folder, tmp_path), "--runtime", "tensorrt")
    assert said.code == 3
    assert "TensorRT was asked for" in said.answer["problems"][0]


def test_build_and_verify(folder: Path, tmp_path: Path) -> None:
    said = agent(folder, "build", *places(folder, tmp_path))
    assert said.code == 0, said.err
    assert said.answer["engine"]["runtime"] == "onnxruntime"
    said = agent(folder, "verify", *places(folder, tmp_path))
    assert said.code == 0, said.err
    assert said.answer["ok"] is True
    assert said.answer["runtime"].startswith("onnxruntime ")
    assert said.answer["statistics"]["disagreements"] == 0
    assert json.loads((tmp_path / "verify.json").read_text())["ok"] is True


def test_a_build_for_onnx_runtime_is_no_engine_of_tensorrt(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JetPack's TensorRT came after the build: its stamp is of the right network, and names no engine file."""
    assert agent(folder, "build", *places(folder, tmp_path)).code == 0
    monkeypatch.setattr(runtime, "missing_tensorrt", lambda: "")
    with pytest.raises(UserError, match="no engine built from this bundle"):
        runtime.open_engine(folder, tmp_path, check_unpacked(folder), runtime="auto", threads=1)


@pytest.mark.parametrize(("saliency", "explainer"), [("cam", "cam"), ("gradient", "vg")])
def test_the_drift_of_maps_names_what_the_maps_are(folder: Path, saliency: str, explainer: str) -> None:
    engine = OnnxRuntimeEngine(folder / "model.onnx", threads=1)
    rows = _drift(Subject(engine, "natural", "fp32", "engine", "x"), engine, folder, saliency=saliency)
    assert [row.detail["explainer"] for row in rows if row.metric == "map_rank_correlation"] == [explainer]


def test_the_answer_is_the_only_thing_on_standard_output(folder: Path, tmp_path: Path) -> None:
    assert len(agent(folder, "doctor", *places(folder, tmp_path)).out.splitlines()) == 1
    quiet = places(folder, tmp_path)[:-1]
    assert agent(folder, "verify", *quiet).out == ""


def test_a_changed_byte_in_any_file_fails_verification(own: Path, tmp_path: Path) -> None:
    names = sorted(str(p.relative_to(own)) for p in own.rglob("*") if p.is_file() and p.name != "agent.pyz")
    assert len(names) >= 12
    for name in ("model.onnx", "manifest.json"):
        assert name in names
        path, before = own / name, (own / name).read_bytes()
        path.write_bytes(
            before[: len(before) // 2] + bytes([before[len(before) // 2] ^ 4]) + before[len(before) // 2 + 1 :]
        )
        said = agent(own, "verify", *places(own, tmp_path))
        assert said.code in (2, 4), (name, said.err)
        assert said.answer["ok"] is False
        assert "Traceback" not in said.err
        path.write_bytes(before)
    assert agent(own, "verify", *places(own, tmp_path)).code == 0


@pytest.mark.parametrize("change", ["other weights", "a scale off by a tenth"])
def test_another_network_under_the_right_digest_is_caught_by_the_golden_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The bundle is genuine in every byte; what runs is not what was evaluated."""
    import small_bundle as made

    contents = made.small_contents

    def spoilt(place: Path, *, seed: int = 0) -> Any:
        found = contents(place, seed=seed)
        model = onnx.load(found.engine)
        for held in model.graph.initializer:
            if held.name == "w":
                values = numpy_helper.to_array(held)
                new = values[::-1] if change == "other weights" else values * 1.1
                held.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(new, np.float32), "w"))
        onnx.save(model, found.engine)
        return found

    monkeypatch.setattr(made, "small_contents", spoilt)
    unpack(made.small_bundle(tmp_path / "made"), tmp_path / "bundle")
    said = agent(tmp_path / "bundle", "verify", *places(tmp_path / "bundle", tmp_path / "state"))
    assert said.code == 4
    assert "does not compute what was evaluated" in said.answer["problems"][0]
    assert json.loads((tmp_path / "state" / "verify.json").read_text())["ok"] is False


def test_measure_gives_the_workstations_own_numbers(folder: Path, tmp_path: Path) -> None:
    said = agent(folder, "measure", *places(folder, tmp_path), "--threads", "1")
    assert said.code == 0, said.err
    rows = [Row.from_json(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert said.answer["rows"] == len(rows)
    assert {row.runtime for row in rows} == {said.answer["runtime"]}
    assert all(row.subject == "engine" for row in rows)
    engine = OnnxRuntimeEngine(folder / "model.onnx", threads=1)
    probes, out = read_probes(folder / "probes"), Replay()
    who = Subject(engine, "natural", "fp32", "engine", engine.runtime)
    settings: dict[str, Any] = {"eps": ["8/255"], "attacks": ["pgd", "square", "noise"], "seed": 0, "out": out}
    replay_attacks(who, probes, **settings, square_queries=5, square_n=8)
    maps = {"cam": engine.with_saliency(probes.images[:12])[1]}
    words: dict[str, Any] = {"explainers": ["vg", "cam", "lime"], "lime_samples": 64, "fill": (0.5, 0.5, 0.5)}
    replay_explanations(who, probes, maps, **words, seed=0, out=out)
    mine = {(row.metric, json.dumps(row.detail, sort_keys=True)): row for row in rows}
    compared = 0
    for row in out.rows:
        key = (row.metric, json.dumps(row.detail, sort_keys=True))
        assert mine[key].value == pytest.approx(row.value, rel=1e-9), key
        assert mine[key].n == row.n
        compared += 1
    assert compared > 40
    metrics = {row.metric for row in rows}
    assert {"clean_acc", "robust_acc", "agreement", "logit_drift", "map_rank_correlation", "golden_shift"} <= metrics
    assert {"road_gap", "deletion_auc", "lime_r2", "latency_ms", "throughput", "power_w", "energy_mj"} <= metrics
    clean = next(row for row in rows if row.metric == "clean_acc")
    assert (clean.value, clean.detail["images"]) == (0.8, "probes")
    assert {r.detail["statistic"] for r in rows if r.metric == "latency_ms"} == {"median", "p95", "p99"}
    for row in rows:
        assert (row.value is None) == (row.status != "measured")
        assert row.status == "measured" or row.reason
    absent = [row for row in rows if row.status == "not measured here"]
    assert {"power_w", "energy_mj"} <= {row.metric for row in absent}
    assert all("on the board:" in row.reason for row in absent)


def test_a_look_at_fewer_images(folder: Path, tmp_path: Path) -> None:
    said = agent(folder, "measure", *places(folder, tmp_path), "--limit", "10")
    assert said.code == 0, said.err
    rows = [Row.from_json(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert next(row.n for row in rows if row.metric == "clean_acc") == 10


def test_classify(folder: Path, tmp_path: Path) -> None:
    probes = read_probes(folder / "probes")
    engine = OnnxRuntimeEngine(folder / "model.onnx", threads=1)
    wanted = ["abcde"[k] for k in engine(probes.images[:3]).argmax(1)]
    files = []
    for k in range(3):
        pixels = np.round(probes.images[k] * 255).astype(np.uint8).transpose(1, 2, 0)
        (tmp_path / f"{k}.ppm").write_bytes(b"P6\n# made here\n%d %d\n255\n" % (SIZE, SIZE) + pixels.tobytes())
        files.append(tmp_path / f"{k}.ppm")
    said = agent(folder, "classify", *files, *places(folder, tmp_path))
    assert said.code == 0, said.err
    assert [found["class"] for found in said.answer["decisions"]] == wanted
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    said = agent(folder, "classify", tmp_path / "bad.png", *places(folder, tmp_path))
    assert said.code == 2
    assert "Traceback" not in said.err
    assert agent(folder, "classify", tmp_path / "none.png", *places(folder, tmp_path)).code == 2
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    assert agent(folder, "classify", tmp_path / "a.jpg", *places(folder, tmp_path)).code == 3


@pytest.mark.parametrize("kind", ["RGB", "L", "RGBA", "P"])
@pytest.mark.parametrize("size", [SIZE, 37, 9])
def test_png_against_pillow(tmp_path: Path, kind: str, size: int) -> None:
    """Decoding is exact; resizing is Pillow's bilinear to within a level, for Pillow rounds on the way."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 256, (5, 5, 3), np.uint8)
    picture = image.fromarray(smooth).resize((size, size + 3)).convert(kind)
    picture.save(tmp_path / "a.png", optimize=True)
    found = read_picture(tmp_path / "a.png", size=SIZE) * 255
    wanted = np.asarray(picture.convert("RGB").resize((SIZE, SIZE), image.BILINEAR), np.float64).transpose(2, 0, 1)
    assert np.abs(found - wanted).max() <= 1.01


def test_pictures_that_are_none(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 4), np.uint8))
    huge = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + b"IHDR" + (1 << 30).to_bytes(4, "big") * 2 + b"\x08\2\0\0\0"
    bomb = huge + bytes(4) + (0).to_bytes(4, "big") + b"IDAT" + bytes(4) + (0).to_bytes(4, "big") + b"IEND" + bytes(4)
    (tmp_path / "b.png").write_bytes(bomb)
    (tmp_path / "c.ppm").write_bytes(b"P6 4 4 255\n" + b"\0" * 5)
    (tmp_path / "d.png").write_bytes(b"\x89PNG\r\n\x1a\n" + zlib.compress(b""))
    (tmp_path / "e.gif").write_bytes(b"GIF89a" + b"\xff" * 4 + bytes(3) + b"," + bytes(4) + b"\xff" * 4 + bytes(3))
    for name in ("a.npy", "b.png", "c.ppm", "d.png", "e.gif"):
        with pytest.raises((UserError, MissingCapability)):
            read_picture(tmp_path / name, size=SIZE)


def test_an_older_agent_refuses_a_newer_bundle(own: Path, tmp_path: Path) -> None:
    manifest = own / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
    said = agent(own, "verify", *places(own, tmp_path))
    assert said.code == 3
    assert said.answer["problems"] == ["the bundle has format 2, this agent reads format 1"]


def test_a_bug_is_answered_too(folder: Path, tmp_path: Path) -> None:
    """Whoever reads the JSON is never left without it, and the traceback is kept for us."""
    (tmp_path / "state").write_text("a file where a folder belongs")
    said = agent(folder, "verify", *places(folder, tmp_path / "state"))
    assert said.code == 1
    assert said.answer["problems"][0].startswith("a bug in the agent")
    assert "Traceback" in said.err


def test_unpacks_itself(folder: Path, tmp_path: Path) -> None:
    bundle = folder.parent / "made" / "small.tar"
    said = agent(folder, "unpack", bundle, tmp_path / "out", "--json")
    assert said.code == 0, said.err
    assert (tmp_path / "out" / "model.onnx").is_file()
    assert said.answer["bundle"]["name"] == "small"
    assert agent(folder, "unpack", bundle, tmp_path / "out", "--json").code == 2
