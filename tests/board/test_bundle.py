"""A bundle: the same bytes every time, opened whole or not at all, every change found, signed by whom one trusts."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from small_bundle import small_bundle, small_contents

from edgexai.board.bundle import write_bundle
from edgexai.board.canonical_tar import header, is_safe_name, write_tar
from edgexai.board.manifest import FORMAT, NAME, read_manifest, write_manifest
from edgexai.board.sign import check_signature, sign, signature_of
from edgexai.board.unpack import check_unpacked, unpack
from edgexai.errors import GateFailed, MissingCapability, UserError
from edgexai.probe.probe_set import read_probes


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle(tmp_path_factory.mktemp("bundle"))


def test_the_same_contents_give_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    again = small_bundle(tmp_path / "elsewhere")
    os.utime(again.parent / "parts" / "fp32.onnx", (1, 1))
    assert again.read_bytes() == bundle.read_bytes()
    other = small_bundle(tmp_path / "other", target="orin_nano")
    assert other.read_bytes() != bundle.read_bytes()


def test_a_plain_tar_reader_sees_what_was_written(bundle: Path) -> None:
    with tarfile.open(bundle) as archive:
        members = archive.getmembers()
    assert members[0].name == NAME
    assert [m.name for m in members[1:]] == sorted(m.name for m in members[1:])
    for member in members:
        assert member.isreg()
        assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
        assert member.mode == (0o755 if member.name == "agent.pyz" else 0o644)
    wanted = {NAME, "model.onnx", "agent.pyz", "golden.npz", "golden.json", "recipe.lock.json", "rows.jsonl"}
    assert wanted | {"sbom.json", "LICENSES.txt", "probes/probes.json"} <= {m.name for m in members}


def test_unpacked_it_is_what_went_in(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    manifest = unpack(bundle, folder)
    assert check_unpacked(folder) == manifest
    assert (folder / "model.onnx").read_bytes() == (bundle.parent / "parts" / "fp32.onnx").read_bytes()
    assert os.access(folder / "agent.pyz", os.X_OK)
    assert not os.access(folder / "model.onnx", os.X_OK)
    assert set(read_probes(folder / "probes").maps) == {"vg"}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert manifest["format"] == FORMAT
    assert manifest["needs"] == {"python": ">=3.10", "runtimes": ["tensorrt", "onnxruntime"]}
    listed = {c["name"]: c for c in json.loads((folder / "sbom.json").read_text())["components"]}
    assert listed["model.onnx"]["hashes"][0]["content"] == manifest["files"]["model.onnx"]["sha256"]
    assert "Apache License" in (folder / "LICENSES.txt").read_text()


@pytest.mark.parametrize(
    "change",
    ["flip", "cut", "append", "missing", "extra", "link"],
)
def test_an_unpacked_bundle_that_was_touched_is_refused(bundle: Path, tmp_path: Path, change: str) -> None:
    folder = tmp_path / "out"
    manifest = unpack(bundle, folder)
    check_unpacked(folder)
    for name in [*manifest["files"], NAME]:
        file, before = folder / name, (folder / name).read_bytes()
        if change == "flip":
            file.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        elif change == "cut":
            file.write_bytes(before[:-1])
        elif change == "append":
            file.write_bytes(before + b"\n")
        elif change == "extra":
            (folder / f"{name}.more").write_bytes(b"")
        else:
            file.unlink()
            if change == "link":
                (tmp_path / "same").write_bytes(before)
                file.symlink_to(tmp_path / "same")
        if change == "link" and name == NAME:
            continue  # the manifest itself is read, whatever leads to it
        with pytest.raises((GateFailed, UserError)):
            check_unpacked(folder)
        (folder / f"{name}.more").unlink(missing_ok=True)
        file.unlink(missing_ok=True)
        file.write_bytes(before)
        check_unpacked(folder)


def rewritten(bundle: Path, out: Path, **changes: object) -> Path:
    """The bundle with other words in its manifest, sealed as if it were genuine."""
    with tarfile.open(bundle) as archive:
        members = {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]
    found = json.loads(members.pop(NAME))
    found.pop("seal")
    body = {**found, **changes}
    with out.open("wb") as stream:
        write_tar(stream, {NAME: write_manifest(body), **members})
    return out


def test_a_newer_format_is_refused_in_clear_words(bundle: Path, tmp_path: Path) -> None:
    newer = write_manifest({"name": "x"}).replace(b'"format": 1', b'"format": 2')
    with pytest.raises(MissingCapability, match=r"format 2, this agent reads format 1"):
        read_manifest(newer)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"../out": {"bytes": 1, "sha256": "0" * 64}},
        {"/etc/x": {"bytes": 1, "sha256": "0" * 64}},
        {"a/../b": {"bytes": 1, "sha256": "0" * 64}},
        {"a//b": {"bytes": 1, "sha256": "0" * 64}},
        {".hidden": {"bytes": 1, "sha256": "0" * 64}},
        {"-rf": {"bytes": 1, "sha256": "0" * 64}},
        {"a\n": {"bytes": 1, "sha256": "0" * 64}},
        {"a": {"bytes": 1, "sha256": "0" * 64}, "A": {"bytes": 1, "sha256": "0" * 64}},
        {"a": {"bytes": 1, "sha256": "0" * 64}, "a/b": {"bytes": 1, "sha256": "0" * 64}},
        {"a": {"bytes": -1, "sha256": "0" * 64}},
        {"a": {"bytes": True, "sha256": "0" * 64}},
        {"a": {"bytes": 1, "sha256": "0" * 63}},
        {"a": {"bytes": 1, "sha256": "0" * 64, "mode": 511}},
        {"a": {"bytes": 1e3, "sha256": "0" * 64}},
        {NAME: {"bytes": 1, "sha256": "0" * 64}},
    ],
)
def test_a_sealed_manifest_with_a_forbidden_list_is_refused(
    bundle: Path, tmp_path: Path, files: dict[str, object]
) -> None:
    with pytest.raises(UserError):
        unpack(rewritten(bundle, tmp_path / "b.tar", files=files), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    unpack(rewritten(bundle, tmp_path / "c.tar"), tmp_path / "fine")  # the same rewriting without a fault is accepted


@pytest.mark.parametrize("target", ["../../etc/passwd", "/etc/hosts", "a.toml", "", 5, ["orin"]])
def test_a_sealed_manifest_cannot_choose_a_file_of_the_readers(bundle: Path, tmp_path: Path, target: object) -> None:
    with pytest.raises(UserError, match="is not the name of a board"):
        unpack(rewritten(bundle, tmp_path / "b.tar", target=target), tmp_path / "out")


def test_a_bomb_is_refused_before_a_byte_is_written(bundle: Path, tmp_path: Path) -> None:
    manifest = unpack(bundle, tmp_path / "fine")
    files = {**manifest["files"], "model.onnx": {"bytes": 8**11 - 1, "sha256": "0" * 64}}
    before = set(tmp_path.iterdir())
    bomb = rewritten(bundle, tmp_path / "b.tar", files=files)
    with pytest.raises(GateFailed, match="its manifest makes it"):
        unpack(bomb, tmp_path / "out")
    with bomb.open("r+b") as stream:  # as long as it claims to be, without taking the room
        sizes = [a["bytes"] for a in files.values()]
        blocks = sum(512 + s + -s % 512 for s in sizes) + 1024
        head = len(write_manifest({k: v for k, v in {**manifest, "files": files}.items() if k != "seal"}))
        stream.truncate(512 + head + -head % 512 + blocks)
    with pytest.raises((UserError, GateFailed)):
        unpack(bomb, tmp_path / "out")
    assert set(tmp_path.iterdir()) - before == {bomb}


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "device", "fifo", "long name", "absolute", "twice", "gnu"])
def test_what_other_tools_can_put_in_a_tar_is_refused(bundle: Path, tmp_path: Path, kind: str) -> None:
    data = bundle.read_bytes()
    size = int(data[124:135], 8)
    first_bytes = 512 + size + -size % 512
    with tarfile.open(bundle) as archive:
        second = archive.getmembers()[1]
    member = tarfile.TarInfo(second.name)
    member.size = second.size
    types = {
        "symlink": tarfile.SYMTYPE,
        "hardlink": tarfile.LNKTYPE,
        "device": tarfile.CHRTYPE,
        "fifo": tarfile.FIFOTYPE,
    }
    if kind in types:
        member.type, member.linkname, member.size = types[kind], "/etc/passwd", 0
    elif kind == "long name":
        member.name = "a/" * 90 + "b"
    elif kind == "absolute":
        member.name = "/" + second.name
    elif kind == "twice":
        member.name = NAME
    made = member.tobuf(format=tarfile.GNU_FORMAT if kind == "gnu" else tarfile.PAX_FORMAT)
    changed = data[:first_bytes] + made + data[first_bytes + 512 :]
    (tmp_path / "b.tar").write_bytes(changed[: len(data)].ljust(len(data), b"\0"))
    with pytest.raises((GateFailed, UserError)):
        unpack(tmp_path / "b.tar", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["b.tar"]


@pytest.mark.parametrize("name", ["a", "probes/maps_0.npy", "A-b.c+d_e", "a/b/c/d"])
def test_names_that_are_safe(name: str) -> None:
    assert is_safe_name(name)
    assert len(header(name, 3)) == 512
    assert tarfile.TarInfo.frombuf(header(name, 3), "ascii", "strict").name == name


@pytest.mark.parametrize("name", ["", "/a", "a/", "..", "a/../b", ".a", "a/.b", "-a", "ä", "a b", "a\\b", "a/b/c/d/e"])
def test_names_that_are_not(name: str) -> None:
    assert not is_safe_name(name)
    with pytest.raises(ValueError, match="cannot be a member"):
        header(name, 3)


def test_an_existing_folder_is_never_touched(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="is there already"):
        unpack(bundle, tmp_path / "out")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is there already"):
        unpack(bundle, tmp_path / "link")
    for wrong in (tmp_path, tmp_path / "none.tar"):
        with pytest.raises(UserError, match="no such file"):
            unpack(wrong, tmp_path / "new")


def test_a_full_disk_is_said_and_leaves_nothing(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(UserError, match="1000 are free"):
        unpack(bundle, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_member_name_that_a_bundle_may_not_hold(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    contents = small_contents(tmp_path / "parts")
    (tmp_path / "parts" / "probes" / ".odd.npy").write_bytes(b"x")
    with pytest.raises(UserError, match="cannot be a member"):
        write_bundle(contents, tmp_path / "b.tar")
    measure = {key: value for key, value in contents.measure.items() if key != "seed"}
    with pytest.raises(UserError, match="lacks seed"):
        write_bundle(replace(contents, measure=measure), tmp_path / "b.tar")
    assert [p.name for p in tmp_path.iterdir()] == ["parts"]


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")
def test_signed_by_whom_one_trusts(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for who in ("mine", "theirs"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / who)], check=True)
    copy = tmp_path / "b.tar"
    copy.write_bytes(bundle.read_bytes())
    signers, others = tmp_path / "signers", tmp_path / "others"
    signers.write_text("me@example.org " + (tmp_path / "mine.pub").read_text())
    others.write_text("you@example.org " + (tmp_path / "theirs.pub").read_text())
    with pytest.raises(GateFailed, match="is not signed"):
        check_signature(copy, signers=signers)
    assert sign(copy, key=tmp_path / "mine") == signature_of(copy)
    assert check_signature(copy, signers=signers) == "me@example.org"
    with pytest.raises(GateFailed, match="signed by nobody"):
        check_signature(copy, signers=others)
    copy.write_bytes(copy.read_bytes()[:-1] + b"\1")
    with pytest.raises(GateFailed, match="is of other bytes"):
        check_signature(copy, signers=signers)
    with pytest.raises(UserError, match="no such key"):
        sign(copy, key=tmp_path / "none")
    monkeypatch.setattr("edgexai.board.sign._TIMEOUT_S", 0)
    with pytest.raises(UserError, match="does the key wait for a passphrase"):
        sign(copy, key=tmp_path / "mine")


def test_a_tar_of_somebody_else_is_no_bundle(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        member = tarfile.TarInfo(NAME)
        member.size = 2
        archive.addfile(member, io.BytesIO(b"{}"))
    for data in (b"", b"PK\3\4", (tmp_path / "b.tar").read_bytes()):
        (tmp_path / "b.tar").write_bytes(data)
        with pytest.raises(UserError, match="not a bundle"):
            unpack(tmp_path / "b.tar", tmp_path / "out")
