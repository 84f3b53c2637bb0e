"""A user's own images: folders and CSVs become cards that recipes can name; every fault is told at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgexai.config.card_files import card_files
from edgexai.config.cards import read_card
from edgexai.config.load import load_recipe
from edgexai.config.recipe import DataTable
from edgexai.data.add import Added, add_own
from edgexai.data.digest import source_digest
from edgexai.data.load import load
from edgexai.errors import MissingCapability, UserError

CLASSES = ("ant", "bee", "cat")
RECIPE = """title = "mine"
[data]
name = "mine"
[model]
name = "signnet"
[train]
method = "natural"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEXAI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def save(path: Path, seed: int, size: tuple[int, int] = (20, 24)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(path)


def folders(root: Path, *, splits: tuple[str, ...] = ("",), n: int = 10) -> Path:
    for s, split in enumerate(splits):
        for c, name in enumerate(CLASSES):
            for k in range(n):
                save(root / split / name / f"{k}.png", s * 1000 + c * 100 + k)
    return root


def table(root: Path, *, extra: str = "", cells: str = "") -> Path:
    """A CSV of 3 classes, 5 tracks each, 2 images a track; ``extra`` columns filled with ``cells``."""
    lines = [f"path,label,x1,y1,x2,y2,track{extra}"]
    for c, name in enumerate(CLASSES):
        for k in range(10):
            save(root / "pictures" / f"{name}{k}.png", c * 100 + k)
            lines.append(f"pictures/{name}{k}.png,{name},2,3,15,{18 + c},{name}-{k // 2}{cells}")
    (root / "list.csv").write_text("\n".join(lines) + "\n")
    return root / "list.csv"


def test_folders_without_splits(tmp_path: Path) -> None:
    root = folders(tmp_path / "tree")
    (root / "notes.txt").write_text("not an image")
    (root / "ant" / ".hidden.png").write_text("passed over")
    added = add_own("mine", root)
    assert added.images == {"train": 21, "val": 3, "test": 6}
    assert (added.classes, added.boxes, added.tracks, added.seen_in_training) == (CLASSES, False, False, 0)
    card = read_card("mine")
    assert card.classes == CLASSES
    assert any("No tracks" in trap for trap in card.traps)
    data = load(DataTable(name="mine", size=16, validation=0.3), seed=0)
    assert {k: len(v) for k, v in data.splits.items()} == {"train": 18, "val": 6, "test": 6}
    assert load(DataTable(name="mine", size=16), seed=9).splits["test"].digest() == data.splits["test"].digest()
    seen = 0
    for split in data.splits.values():
        for image, label in zip(split.images, split.labels, strict=True):
            found = [
                k
                for k in range(10)
                if np.array_equal(
                    image,
                    np.asarray(
                        Image.open(root / CLASSES[label] / f"{k}.png").resize((16, 16), Image.Resampling.BILINEAR)
                    ),
                )
            ]
            seen += len(found)
    assert seen == 30


def test_folders_with_splits_are_kept_as_they_are(tmp_path: Path) -> None:
    folders(tmp_path / "two", splits=("train", "test"))
    assert add_own("two", tmp_path / "two").images == {"train": 27, "val": 3, "test": 30}
    folders(tmp_path / "all", splits=("Train", "Valid", "test"), n=4)
    assert add_own("all_of_them", tmp_path / "all").images == {"train": 12, "val": 12, "test": 12}
    one, other = (load(DataTable(name="all_of_them", size=16), seed=s) for s in (0, 1))
    assert {k: v.digest() for k, v in one.splits.items()} == {k: v.digest() for k, v in other.splits.items()}


def test_a_csv_with_boxes_and_tracks(tmp_path: Path) -> None:
    added = add_own("mine", table(tmp_path))
    assert (added.boxes, added.tracks) == (True, True)
    splits = load(DataTable(name="mine", size=40), seed=0).splits
    tracks = [set(split.tracks.tolist()) for split in splits.values()]
    assert sum(map(len, tracks)) == len(set.union(*tracks)) == 15
    assert all(set(split.labels.tolist()) == {0, 1, 2} for split in splits.values())
    for split in splits.values():
        for box, label in zip(split.boxes, split.labels, strict=True):
            np.testing.assert_allclose(box, [2 * 2, 3 * 40 / 24, 15 * 2, (18 + label) * 40 / 24], rtol=1e-6)
        assert split.relevance() is not None


def test_a_csv_with_semicolons_splits_absolute_paths_and_no_more_columns(tmp_path: Path) -> None:
    root = folders(tmp_path / "tree", n=3)
    lines = ["Label;Path;Split;weather"]
    for k, side in enumerate(("train", "val", "test")):
        lines += [f"{name};{root / name / f'{k}.png'};{side};rain" for name in CLASSES]
    (tmp_path / "list.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    added = add_own("mine", tmp_path / "list.csv")
    assert added.images == {"train": 3, "val": 3, "test": 3}


FAULTS = {
    "no such image": ("nowhere.png,ant,2,3,15,18,t", "image nowhere.png is missing"),
    "no label": ("pictures/ant0.png,,2,3,15,18,t", "no label"),
    "half a box": ("pictures/ant0.png,ant,2,3,15,,ant-0", "box 2,3,15,: four numbers, or none"),
    "words": ("pictures/ant0.png,ant,2,3,15,wide,ant-0", "box 2,3,15,wide: four numbers"),
    "infinite": ("pictures/ant0.png,ant,2,3,15,inf,ant-0", "not finite"),
    "empty box": ("pictures/ant0.png,ant,15,3,15,18,ant-0", "is empty or reaches outside"),
    "box outside": ("pictures/ant0.png,ant,2,3,21,18,ant-0", "reaches outside the image of 20 x 24"),
    "fields": ("pictures/ant0.png,ant,2,3", "4 fields, expected 7"),
    "twice": ("pictures/ant1.png,ant,2,3,15,18,ant-0", ""),
    "no track": ("pictures/ant0.png,ant,2,3,15,18,", "no track, where others have one (1 images)"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_bad_rows_are_named_with_file_and_line(tmp_path: Path, home: Path, case: str) -> None:
    path = table(tmp_path)
    lines = path.read_text().splitlines()
    lines[1] = FAULTS[case][0]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError) as caught:
        add_own("mine", path)
    if case == "twice":
        assert f"{path}:3: pictures/ant1.png was already named in {path}:2" in str(caught.value)
    else:
        assert f"{path}:2: " in str(caught.value)
        assert FAULTS[case][1] in str(caught.value)
    assert not home.exists()


def test_all_faults_are_told_together(tmp_path: Path) -> None:
    path = table(tmp_path, extra=",split", cells=",train")
    text = path.read_text().replace("ant-0,train", "ant-0,test", 1).replace("ant3.png,ant", "ant3.png,")
    path.write_text(text.replace("bee2.png,bee,2,3,15,19,bee-1,train", "bee2.png,bee,2,3,15,19,bee-1,exam"))
    (tmp_path / "pictures/cat1.png").write_text("404")
    (tmp_path / "pictures/cat2.png").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        add_own("mine", path)
    said = str(caught.value)
    for part in (
        "track 'ant-0' is also in test",
        ":5: no label",
        "split = 'exam', allowed train, val, test",
        "cat1.png is not an image",
        "cat2.png is not an image",
    ):
        assert part in said, part
    assert caught.value.what.endswith("5 faults")


def test_damaged_pixels_are_found_though_the_header_is_sound(tmp_path: Path) -> None:
    root = folders(tmp_path / "tree")
    path = root / "bee" / "3.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"bee/3\.png: truncated or corrupt image"):
        add_own("mine", root)


def test_trees_that_are_none(tmp_path: Path) -> None:
    def said(root: Path) -> str:
        with pytest.raises(UserError) as caught:
            add_own("mine", root)
        return str(caught.value)

    assert "does not exist" in said(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no class folders in it" in said(tmp_path / "empty")
    root = folders(tmp_path / "a", n=2)
    (root / "dog").mkdir()
    save(root / "ant" / "deeper" / "x.png", 0)
    assert "dog: class with no images" in said(root)
    assert "a folder within a class folder" in said(root)
    root = folders(tmp_path / "b", splits=("train", "test"), n=2)
    save(root / "test" / "dog" / "x.png", 0)
    save(root / "extra" / "x.png", 0)
    assert "class 'dog' is not in the train split" in said(root)
    assert "extra: beside test, train: is it a class or a split?" in said(root)
    root = folders(tmp_path / "c", splits=("test",), n=2)
    assert "without train" in said(root)
    save(tmp_path / "d" / "only" / "x.png", 0)
    assert "1 class; a classifier needs two" in said(tmp_path / "d")
    for text, expected in (
        ("file,label\n", "no column path"),
        ("path,label,x1\n", "only x1; a box needs"),
        ("path,label,label\n", "column label is there twice"),
        ("", "no column path, no column label"),
        ("path,label\n", "no images"),
    ):
        (tmp_path / "list.csv").write_text(text)
        assert expected in said(tmp_path / "list.csv")


def test_names(tmp_path: Path) -> None:
    root = folders(tmp_path / "tree", n=4)
    for name, said in (("gtsrb", "a data set of edgexai"), ("../x", "cannot name"), ("Mine", "cannot name")):
        with pytest.raises(UserError, match=said):
            add_own(name, root)
    add_own("mine", root)
    with pytest.raises(UserError, match="already added"):
        add_own("mine", root)
    assert isinstance(add_own("mine", root, replace=True), Added)
    assert "mine" in card_files()


def test_odd_class_names_survive_the_card(tmp_path: Path) -> None:
    names = ('quo"te', "back\\slash", "ümlaut", "tab\there", "del\x7f")
    for k, name in enumerate(names):
        for image in range(3):
            save(tmp_path / "tree" / name / f"{image}.png", k * 10 + image)
    add_own("odd", tmp_path / "tree", title='a "title"')
    assert read_card("odd").classes == tuple(sorted(names))
    assert read_card("odd").title == 'a "title"'


def test_recipes_name_own_data_and_unknown_names_get_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(RECIPE)
    with pytest.raises(UserError) as caught:
        load_recipe(str(path))
    assert caught.value.exit_code == 2
    assert caught.value.problems[0].startswith('data.name: no data set "mine"; there are: cifar10')
    assert caught.value.problems[0].endswith("(line 3)")
    add_own("mine", folders(tmp_path / "tree", n=4))
    assert load_recipe(str(path)).recipe.data.name == "mine"
    with pytest.raises(UserError, match="mine2") as caught:
        load_recipe(str(path), ["data.name=mine2"])
    assert 'did you mean "mine"?' in caught.value.problems[0]
    path.write_text(RECIPE + '[refine]\nmethod = "lime"\n')
    with pytest.raises(UserError) as caught:
        load_recipe(str(path))
    assert caught.value.problems == ('refine.relevance = "roi": "mine" has no boxes; write relevance = "none"',)


def test_corrupted_data_are_not_for_training(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe("natural_gtsrb", ["data.name=gtsrb_c"])
    assert "only for measuring" in caught.value.problems[0]


def test_the_digest_follows_every_image(tmp_path: Path) -> None:
    root, path = folders(tmp_path / "tree", n=4), table(tmp_path / "csv")
    add_own("tree", root)
    add_own("listed", path)
    own = {"tree": root / "ant" / "1.png", "listed": path.parent / "pictures" / "ant1.png"}
    for name, image in own.items():
        first = source_digest(DataTable(name=name), home=tmp_path / "memo")
        assert source_digest(DataTable(name=name), home=tmp_path / "memo") == first
        save(image, 999)
        assert source_digest(DataTable(name=name), home=tmp_path / "memo") != first


def test_data_that_changed_since_they_were_added(tmp_path: Path) -> None:
    root = folders(tmp_path / "tree", n=4)
    add_own("mine", root)
    (root / "bee" / "0.png").write_text("x")
    with pytest.raises(UserError, match=r"bee/0\.png: not an image"):
        load(DataTable(name="mine"), seed=0)
    shutil.rmtree(root / "bee")
    with pytest.raises(UserError, match="not those it was added with") as caught:
        load(DataTable(name="mine"), seed=0)
    assert f"edgexai data add mine {root} --force" in caught.value.next_step
    shutil.rmtree(root)
    with pytest.raises(MissingCapability, match="not there any more"):
        load(DataTable(name="mine"), seed=0)


def test_duplicates_are_found_and_left_out_where_asked(tmp_path: Path) -> None:
    root = folders(tmp_path / "tree", splits=("train", "test"), n=4)
    for k in (1, 3):
        shutil.copy(root / "train" / "bee" / f"{k}.png", root / "test" / "bee" / f"{k}.png")
    assert add_own("mine", root).seen_in_training == 2
    assert any("drop_duplicates" in trap for trap in read_card("mine").traps)
    kept = load(DataTable(name="mine"), seed=0).splits
    dropped = load(DataTable(name="mine", drop_duplicates=True), seed=0).splits
    assert (len(kept["test"]), len(dropped["test"])) == (12, 10)
    assert kept["train"].digest() == dropped["train"].digest()
    assert kept["val"].digest() == dropped["val"].digest()
    index = [k for k in range(12) if k not in (5, 7)]
    assert dropped["test"].digest() == kept["test"].take(np.array(index)).digest()


def test_a_key_that_came_later_changes_no_stored_result() -> None:
    assert "drop_duplicates" not in DataTable(name="gtsrb").model_dump(mode="json")
    assert DataTable(name="gtsrb", drop_duplicates=True).model_dump(mode="json")["drop_duplicates"] is True
    dumped = DataTable(name="gtsrb", drop_duplicates=True).model_dump(mode="json")
    assert DataTable.model_validate(dumped).drop_duplicates
