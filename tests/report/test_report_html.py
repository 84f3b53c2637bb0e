"""The page: well formed, self-contained, safe, and without a number that is not a row."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
import synthetic_run

from edgexai.errors import UserError
from edgexai.measure.flags import FLAGS
from edgexai.report.folder import read_run
from edgexai.report.html import render, write_report
from edgexai.types import Row

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Checks balance; collects ids, links, resources, and (text, href, is difference) of value links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.resources: list[str] = []
        self.tags: set[str] = set()
        self.values: list[tuple[str, str]] = []
        self.heads: list[int] = []
        self._value: str | None = None

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a":
            self.links.append(given["href"])
            if "v" in given.get("class", "").split():
                self._value = given["href"]
        self.resources += [given[k] for k in ("src", "srcset", "data", "poster", "action") if k in given]
        if tag == "img":
            assert given.get("alt"), "a picture without words"
        if re.fullmatch("h[1-6]", tag):
            self.heads.append(int(tag[1]))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        if self._value is not None:
            self.values.append((data.strip(), self._value))
            self._value = None


@pytest.fixture(scope="module")
def parsed(page: str) -> Page:
    parser = Page()
    parser.feed(page)
    parser.close()
    return parser


def test_tags_balance_and_headings_do_not_skip(parsed: Page) -> None:
    assert not parsed.faults
    assert not parsed.open
    assert parsed.heads[0] == 1
    assert parsed.heads.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(parsed.heads, parsed.heads[1:], strict=False))


def test_nothing_comes_from_outside(parsed: Page, page: str) -> None:
    assert parsed.resources
    assert all(r.startswith("data:image/png;base64,") for r in parsed.resources)
    assert all(link.startswith("#") for link in parsed.links)
    assert not parsed.tags & {"script", "link", "iframe", "object", "embed", "base"}
    assert "http://" not in page
    assert "https://" not in page
    assert "url(" not in page
    assert "@import" not in page


def test_every_link_arrives_and_ids_are_single(parsed: Page) -> None:
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {link[1:] for link in parsed.links} <= set(parsed.ids)


def test_titles_and_class_names_are_escaped(page: str) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in page
    assert "No <entry>" not in page
    assert "No &lt;entry&gt;" in page


def _naive(text: str, row: Row) -> float:
    """Reads a printed value back: an independent inverse of the formatting."""
    figure, _, unit = text.replace("−", "-").replace(",", "").partition(" ")
    factor = {"%": 0.01, "pp": 0.01, "k": 1e3, "kB": 1e3, "M": 1e6, "MB": 1e6, "G": 1e9}.get(unit, 1.0)
    assert row.unit != "fraction" or unit in ("%", "pp")
    return float(figure) * factor


def test_every_value_is_its_row(parsed: Page) -> None:
    rows = synthetic_run.rows()
    assert len(parsed.values) > 300
    for text, link in parsed.values:
        row = rows[int(link.removeprefix("#r")) - 1]
        if row.value is None:
            assert text == row.status
        else:
            assert _naive(text, row) == pytest.approx(row.value, rel=6e-3, abs=6e-4)


def test_table_cells_hold_no_number_without_a_row(page: str) -> None:
    """Sections 2, 4, 8: every <td> holding a digit is a linked value, words of a comparison, or a dash."""
    for section in ("path", "reasons", "deployment"):
        body = page.split(f'<section aria-labelledby="{section}">')[1].split("</section>")[0]
        for cell in re.findall(r"<td[^>]*>(.*?)</td>", body, re.S):
            plain = re.sub(r"<a class=\"v.*?</a>|<span class=\"(?:ci|n)\">.*?</span>|<[^>]+>", "", cell, flags=re.S)
            numbers = re.findall(r"(?<![\w/])\d+(?:\.\d+)?(?![/\w])", plain)
            assert not numbers, cell


def test_interval_and_n_stand_with_every_measured_value(page: str) -> None:
    rows = synthetic_run.rows()
    for link, tail in re.findall(r'<a class="v" href="#r(\d+)"[^>]*>[^<]*</a>(.*?)</(?:td|div|dd)>', page, re.S):
        row = rows[int(link) - 1]
        if row.low is not None:
            assert '<span class="ci">' in tail
            assert f"n {row.n:,}" in tail
        for flag in row.flags:
            assert f"#flag-{flag}" in tail


def test_appendix_lists_every_row_even_unknown_metrics(page: str, parsed: Page) -> None:
    assert {f"r{i}" for i in range(1, len(synthetic_run.rows()) + 1)} <= set(parsed.ids)
    assert "a_new_metric" in page


def test_skips_flags_and_gains_in_words(page: str) -> None:
    assert "needs two attacks" in page
    assert "edgexai flash BUNDLE" in page
    assert FLAGS["black_box_beats_white_box"].means in page
    assert "not called a gain of the refinement" in page
    assert "a gain: better than natural and than the random-cells control" in page
    assert "must not rank networks" in page
    assert "All 2 gates passed" in page
    assert "Nothing here ran on a Jetson" in page


def test_a_failed_gate_is_said_first(tmp_path: Path) -> None:
    folder = synthetic_run.make(tmp_path / "run", signs=1)
    gates = json.loads((folder / "gates.json").read_text())
    gates[0]["passed"] = False
    (folder / "gates.json").write_text(json.dumps(gates))
    assert "1 of 2 gates failed: Clean accuracy." in render(read_run(folder), signs=1)
    (folder / "gates.json").unlink()
    assert "2 of 2 gates were not decided" in render(read_run(folder), signs=1)


def test_it_says_what_trained_the_network(tmp_path: Path) -> None:
    run = synthetic_run.make(tmp_path / "run", signs=1)
    lock = json.loads((run / "recipe.lock.json").read_text("utf-8"))
    for rendered, words in ((0, "Trained on the training split of gtsrb."), (300, "and 300 rendered images per class")):
        lock["recipe"]["data"] = {"name": "gtsrb", "rendered": rendered}
        (run / "recipe.lock.json").write_text(json.dumps(lock), "utf-8")
        page = write_report(run, signs=1).read_text("utf-8")
        for text in (page, (run / "card.md").read_text("utf-8")):
            assert words in text
            assert ("never scored" in text) == bool(rendered)


@pytest.mark.parametrize("part", ["recipe.lock.json", "measurements.jsonl", "pictures", "gates.json", "all"])
def test_missing_parts_are_tolerated(tmp_path: Path, part: str) -> None:
    folder = synthetic_run.make(tmp_path / "run", signs=2)
    names = ["recipe.lock.json", "measurements.jsonl", "pictures", "gates.json"] if part == "all" else [part]
    for name in names:
        path = folder / name
        if path.is_dir():
            for pack in path.iterdir():
                pack.unlink()
            path.rmdir()
        else:
            path.unlink()
    parser = Page()
    parser.feed(write_report(folder).read_text("utf-8"))
    assert not parser.faults
    assert {link[1:] for link in parser.links} <= set(parser.ids)
    assert (folder / "card.md").is_file()
    assert (folder / "measurements.csv").is_file()


def test_damage_is_named_with_its_line(tmp_path: Path) -> None:
    folder = synthetic_run.make(tmp_path / "run")
    with (folder / "measurements.jsonl").open("a") as stream:
        stream.write('{"arm": "natural"}\nnot json\n')
    number = len(synthetic_run.rows())
    with pytest.raises(UserError) as caught:
        write_report(folder)
    assert f"measurements.jsonl:{number + 1}:" in str(caught.value)
    assert f"measurements.jsonl:{number + 2}:" in str(caught.value)
    (folder / "measurements.jsonl").unlink()
    (folder / "pictures" / "pruned.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(UserError, match=r"pruned\.npz"):
        write_report(folder)
    with pytest.raises(UserError, match="no such run folder"):
        write_report(tmp_path / "nowhere")


def test_a_thousand_rows_in_ten_seconds_and_the_same_page_twice(tmp_path: Path) -> None:
    folder = synthetic_run.make(tmp_path / "run")
    rows = (synthetic_run.rows() * 2)[:1000]
    (folder / "measurements.jsonl").write_text("".join(r.to_json() + "\n" for r in rows))
    start = time.perf_counter()
    first = write_report(folder).read_bytes()
    assert time.perf_counter() - start < 10
    assert write_report(folder).read_bytes() == first


def test_torch_stays_out() -> None:
    code = "import sys, edgexai.report.html; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
