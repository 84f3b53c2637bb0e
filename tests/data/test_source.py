"""Cards, digests, download and the command line of the data room."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgexai.cli.data import app
from edgexai.config.cards import card_names, read_card
from edgexai.config.recipe import DataTable
from edgexai.config.shipped import folder
from edgexai.data import DATASETS, PLACES
from edgexai.data.digest import source_digest
from edgexai.data.fetch import fetch_gtsrb
from edgexai.data.load import load
from edgexai.data.locate import locate_gtsrb
from edgexai.errors import MissingCapability, UserError

GTSRB = DataTable(name="gtsrb")
SHIPPED = ("cifar10", "cifar100", "cifar10c", "gtsrb", "gtsrb_c", "lisa", "lisa14", "lisa17", "signs", "signs_shortcut")


def archives(root: Path) -> Path:
    base = root / "gtsrb"
    base.mkdir(parents=True)
    for name in ("a.zip", "b.zip"):
        with zipfile.ZipFile(base / name, "w") as archive:
            archive.writestr("x", name)
    return base


def tree(root: Path) -> Path:
    base = root / "gtsrb"
    for part in ("GTSRB/Training/00000", "GTSRB/Final_Test/Images"):
        (base / part).mkdir(parents=True)
    (base / "GTSRB/Training/00000/00000_00000.ppm").write_bytes(b"P6")
    (base / "GTSRB/Training/00000/GT-00000.csv").write_text("one")
    (base / "GT-final_test.csv").write_text("two")
    return base


def test_every_card_has_a_loader_and_the_same_classes() -> None:
    assert set(card_names()) == set(DATASETS) == set(SHIPPED)
    assert set(PLACES) == {name for name in SHIPPED if read_card(name).kind != "rendered"}
    cards = {name: read_card(name) for name in card_names()}
    assert len(cards["gtsrb"].classes) == 43
    assert cards["gtsrb"].classes[14] == "stop"
    german = [name for name in SHIPPED if name.startswith(("gtsrb", "signs"))]
    assert {cards[name].classes for name in german} == {cards["gtsrb"].classes}
    assert {name: len(card.classes) for name, card in cards.items() if name not in german} == {
        "cifar10": 10,
        "cifar10c": 10,
        "cifar100": 100,
        "lisa": 47,
        "lisa14": 14,
        "lisa17": 17,
    }
    assert cards["cifar10c"].classes == cards["cifar10"].classes
    for name, card in cards.items():
        assert card.source and card.licence and card.citation and card.traps, name  # noqa: PT018
        assert card.own is None
        assert (card.of is None) == (card.kind != "corrupted")
        assert len(card.class_of()) >= len(card.classes)
    assert [s.name for s in cards["signs_shortcut"].splits] == ["train", "val", "aligned", "conflicting", "absent"]


def test_shipped_folders_exist() -> None:
    for kind in ("recipes", "datasets", "targets"):
        assert folder(kind).is_dir()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("title = ", "not TOML"),
        ('title = "x"', "classes: Field required"),
        ("surprise = 1", "surprise: Extra inputs"),
    ],
)
def test_bad_cards_list_their_faults(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(UserError, match=expected):
        read_card("own", place=tmp_path)
    with pytest.raises(UserError, match=r"did you mean \"gtsrb\"\?; there are: cifar10, .*gtsrb, gtsrb_c, "):
        read_card("gtsrbb")


def test_digest_of_archives_follows_their_bytes(tmp_path: Path) -> None:
    base, home = archives(tmp_path / "data"), tmp_path / "home"
    first = source_digest(GTSRB, data_root=base.parent, home=home)
    assert source_digest(GTSRB, data_root=base.parent, home=home) == first
    assert source_digest(GTSRB, data_root=base.parent, home=tmp_path / "other_home") == first
    moved = tmp_path / "moved"
    moved.mkdir()
    base.rename(moved / "gtsrb")
    assert source_digest(GTSRB, data_root=moved, home=home) == first
    with zipfile.ZipFile(moved / "gtsrb/a.zip", "a") as archive:
        archive.writestr("y", "more")
    changed = source_digest(GTSRB, data_root=moved, home=home)
    assert changed != first
    path = moved / "gtsrb/a.zip"
    data, about = path.read_bytes(), path.stat()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    assert source_digest(GTSRB, data_root=moved, home=home) not in (first, changed)


def test_digest_memo_is_used_and_a_damaged_one_is_not_trusted(tmp_path: Path) -> None:
    base, home = archives(tmp_path / "data"), tmp_path / "home"
    first = source_digest(GTSRB, data_root=base.parent, home=home)
    (memo,) = home.iterdir()
    content = json.loads(memo.read_text())
    assert len(content) == 2
    memo.write_text(json.dumps(dict.fromkeys(content, "0")))
    assert source_digest(GTSRB, data_root=base.parent, home=home) != first
    for junk in ("{", "[1]", ""):
        memo.write_text(junk)
        assert source_digest(GTSRB, data_root=base.parent, home=home) == first


def test_digest_of_a_folder_sees_every_change(tmp_path: Path) -> None:
    base = tree(tmp_path)
    image, table, truth = (
        base / name
        for name in (
            "GTSRB/Training/00000/00000_00000.ppm",
            "GTSRB/Training/00000/GT-00000.csv",
            "GT-final_test.csv",
        )
    )

    def digest() -> str:
        return source_digest(GTSRB, data_root=tmp_path, home=tmp_path / "home")

    seen = [digest()]
    assert digest() == seen[0]
    about = image.stat()
    os.utime(image, ns=(about.st_atime_ns, about.st_mtime_ns + 1_000_000))
    seen.append(digest())
    image.write_bytes(b"P6\n")
    seen.append(digest())
    for csv in (table, truth):
        about = csv.stat()
        csv.write_text("six")
        os.utime(csv, ns=(about.st_atime_ns, about.st_mtime_ns))
        seen.append(digest())
    image.rename(image.with_name("00000_00001.ppm"))
    seen.append(digest())
    assert len(set(seen)) == 6


def test_rendered_digest_is_the_version_in_the_registry() -> None:
    from edgexai.data import signs

    assert DATASETS["signs"].version == DATASETS["signs_shortcut"].version == signs.VERSION
    digests = {source_digest(DataTable(name=name)) for name in ("signs", "signs_shortcut")}
    assert len(digests) == 2


def test_digest_imports_no_torch() -> None:
    code = (
        "import sys; from edgexai.config.recipe import DataTable; from edgexai.data.digest import source_digest;"
        "source_digest(DataTable(name='signs')); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_per_class_is_only_for_rendered_sets(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.per_class = 5"):
        load(DataTable(name="gtsrb", per_class=5), seed=0, data_root=tmp_path)


def test_signs_load_through_the_registry() -> None:
    table = DataTable(name="signs", size=16, per_class=2)
    data = load(table, seed=0)
    assert data.splits["train"].images.shape == (86, 16, 16, 3)
    assert data.splits["train"].masks is not None
    assert load(table, seed=0).splits["train"].digest() == data.splits["train"].digest()


def test_fetch_without_network_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A proxy that nobody listens on: the real downloader, and a connection that is refused at once.
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(MissingCapability, match="could not be downloaded") as caught:
        fetch_gtsrb(tmp_path / "new")
    assert "check the network" in caught.value.next_step
    with pytest.raises(MissingCapability, match="not on this machine"):
        locate_gtsrb(data_root=tmp_path / "new")


def test_fetch_never_touches_what_is_there(tmp_path: Path) -> None:
    base = tree(tmp_path)
    with pytest.raises(UserError, match="already holds files of GTSRB"):
        fetch_gtsrb(tmp_path)
    assert (base / "GT-final_test.csv").read_text() == "two"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        fetch_gtsrb(tmp_path / "file")


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EDGEXAI_DATA", raising=False)
    run = CliRunner().invoke
    rows = {row["name"]: row for row in json.loads(run(app, ["ls", "--json"]).stdout)}
    assert rows["signs"]["here"] == "rendered here"
    assert rows["gtsrb"]["here"] is None
    base = tree(tmp_path / "data")
    assert str(base) in run(app, ["ls", "--data-root", str(base.parent)]).stdout
    result = run(app, ["fetch", "gtsrb", "--data-root", str(base.parent)])
    assert (result.exit_code, "nothing to fetch" in result.stdout) == (0, True)
    assert isinstance(run(app, ["check", "gtsrb", "--data-root", str(base.parent)]).exception, UserError)
    assert isinstance(run(app, ["check", "gtsrb"]).exception, MissingCapability)
    assert isinstance(run(app, ["fetch", "unknown"]).exception, UserError)


@pytest.mark.data
@pytest.mark.slow
def test_the_real_set(tmp_path: Path) -> None:
    root = os.environ.get("EDGEXAI_DATA")
    if not root:
        pytest.skip("EDGEXAI_DATA is not set")
    from edgexai.data import pack
    from edgexai.data.duplicates import duplicates, without_duplicates

    data = load(GTSRB, seed=0)
    train, val, test = (data.splits[name] for name in ("train", "val", "test"))
    assert len(test) == 12_630
    assert len(set(test.labels.tolist())) == len(set(val.labels.tolist())) == len(set(train.labels.tolist())) == 43
    assert not set(train.tracks.tolist()) & set(val.tracks.tolist())
    for part in (train, val, test):
        x1, y1, x2, y2 = part.boxes.T
        assert ((x1 >= 0) & (y1 >= 0) & (x1 < x2) & (y1 < y2) & (x2 <= 32.001) & (y2 <= 32.001)).all()
    if len(train) + len(val) == 13_070:
        # Of the eight test images known to be training images, the five whose frames this third of the set has.
        assert len(set(train.tracks.tolist()) | set(val.tracks.tolist())) == 1_307
        assert duplicates([train, val], test).tolist() == [666, 3546, 3594, 9384, 9575]
        left = without_duplicates(data.splits, tests=("test",))
        assert {name: len(split) for name, split in left.items()} == {
            "train": len(train),
            "val": len(val),
            "test": 12_625,
        }
        assert not len(duplicates([train, val], left["test"]))
    pack.write(data, tmp_path / "pack")
    start = time.perf_counter()
    again = pack.read(tmp_path / "pack")
    assert time.perf_counter() - start < 0.2
    assert again.splits["test"].digest() == test.digest()
