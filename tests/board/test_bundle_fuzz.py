"""Mutated bundles: none is opened, nothing is written outside, no traceback. Hundreds here, 2,000 with the slow."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from pathlib import Path

import pytest
from small_bundle import small_bundle

from edgexai.board.canonical_tar import BLOCK_BYTES
from edgexai.board.unpack import unpack
from edgexai.errors import EdgexaiError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return small_bundle(tmp_path_factory.mktemp("bundle")).read_bytes()


def mutated(data: bytes, rng: random.Random) -> bytes:
    """One mutation, or several of them: of bits, bytes, blocks, numbers, names; of the manifest and its seal."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        size = int(data[124:135], 8)
        head = BLOCK_BYTES + size
        # half of the mutations where structure is: headers and the manifest
        spot = rng.choice([rng.randrange(len(out)), rng.randrange(min(head + BLOCK_BYTES, len(out)))])
        kind = rng.randrange(11)
        if kind == 0:
            out[spot] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[spot] = rng.randrange(256)
        elif kind == 2:
            del out[spot : spot + rng.choice([1, 7, BLOCK_BYTES, 4096])]
        elif kind == 3:
            out[spot:spot] = bytes(rng.randrange(256) for _ in range(rng.choice([1, 9, BLOCK_BYTES])))
        elif kind == 4:
            out = out[: max(spot, 1)]
        elif kind == 5:
            block = spot // BLOCK_BYTES * BLOCK_BYTES
            out[spot:spot] = out[block : block + BLOCK_BYTES]
        elif kind == 6:
            name = rng.choice([b"../../escaped", b"/tmp/escaped", b"a/../../b", b"link", b"\xff\xfe"])
            place = BLOCK_BYTES * rng.randrange(max(len(out) // BLOCK_BYTES, 1))
            out[place : place + 100] = name.ljust(100, b"\0")
        elif kind == 7:
            place = BLOCK_BYTES * rng.randrange(max(len(out) // BLOCK_BYTES, 1))
            out[place + 156 : place + 157] = rng.choice([b"1", b"2", b"3", b"5", b"L", b"x", b"K", b"S"])
        elif kind == 8:
            place = BLOCK_BYTES * rng.randrange(max(len(out) // BLOCK_BYTES, 1))
            out[place + 124 : place + 135] = rng.choice(
                [b"77777777777", b"00000000000", b"-0000000001", b" 0o17      "]
            )
        elif kind == 9:
            out += rng.choice([b"\0", b"\0" * BLOCK_BYTES, b"more", data[:BLOCK_BYTES]])
        else:
            out = sealed_again(bytes(out), rng)
        if not out:
            out = bytearray(b"\0")
    return bytes(out)


def sealed_again(data: bytes, rng: random.Random) -> bytearray:
    """The manifest's list changed and sealed anew, as one would who knows the format but not the files."""
    try:
        size = int(data[124:135], 8)
        found = json.loads(data[BLOCK_BYTES : BLOCK_BYTES + size])
        name = rng.choice(sorted(found["files"]))
    except (ValueError, KeyError, TypeError):
        return bytearray(data)
    about = found["files"].pop(name)
    new = rng.choice(["../" + name, "/" + name, name + "\0", name.upper(), name, "x" * 200, "a/b/c/d/e/f", ".ssh/keys"])
    about["bytes"] = rng.choice([about["bytes"], 0, about["bytes"] + 1, 8**11, 2**70, -1])
    about["sha256"] = rng.choice([about["sha256"][::-1], "0" * 64, about["sha256"].upper()])
    found["files"][new] = about
    found.pop("seal", None)
    body = (json.dumps(found, sort_keys=True, indent=1) + "\n").encode()
    found["seal"] = hashlib.sha256(body).hexdigest()
    text = (json.dumps(found, sort_keys=True, indent=1) + "\n").encode()
    # the header as it would be, so that the list itself is what is judged
    head = bytearray(data[:BLOCK_BYTES])
    head[124:136] = b"%011o\0" % len(text)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    rest = data[BLOCK_BYTES + size + -size % BLOCK_BYTES :]
    return bytearray(bytes(head) + text + bytes(-len(text) % BLOCK_BYTES) + rest)


def attack(whole: bytes, place: Path, *, seed: int, tries: int) -> dict[str, int]:
    """Error class -> count; asserts that nothing is left behind or beside."""
    rng = random.Random(seed)
    inside = place / "inside"
    inside.mkdir()
    (place / "canary").write_text("untouched")
    seen: dict[str, int] = {}
    for _ in range(tries):
        data = mutated(whole, rng)
        if data == whole:
            continue
        bundle = inside / "b.tar"
        bundle.write_bytes(data)
        with pytest.raises(EdgexaiError) as caught:  # anything else is a traceback, and no error is a bundle accepted
            unpack(bundle, inside / "out")
        seen[type(caught.value).__name__] = seen.get(type(caught.value).__name__, 0) + 1
        assert sorted(p.name for p in inside.iterdir()) == ["b.tar"]
    assert sorted(p.name for p in place.iterdir()) == ["canary", "inside"]
    assert (place / "canary").read_text() == "untouched"
    return seen


def test_the_bundle_itself_is_opened(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(whole)
    assert unpack(tmp_path / "b.tar", tmp_path / "out")["name"] == "small"


def test_three_hundred_mutations(whole: bytes, tmp_path: Path) -> None:
    seen = attack(whole, tmp_path, seed=1, tries=300)
    assert sum(seen.values()) > 290
    assert {"GateFailed", "UserError"} <= set(seen)  # the mutations reach more than the first check


@pytest.mark.slow
def test_two_thousand_mutations(whole: bytes, tmp_path: Path) -> None:
    assert sum(attack(whole, tmp_path, seed=2, tries=2000).values()) > 1950


def test_every_field_of_headers_and_padding_counts(whole: bytes, tmp_path: Path) -> None:
    """Also the bytes that tar readers ignore: a spot in every field of every member's header, and in its padding."""
    (tmp_path / "out").mkdir()
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        members = [(m.offset, m.offset_data + m.size) for m in archive]
    fields = (3, 99, 103, 111, 119, 130, 140, 150, 156, 200, 260, 270, 300, 330, 340, 400, 511)
    places = [offset + field for k, (offset, _) in enumerate(members) for field in fields[k % 2 :: 2]]
    places += [end for _, end in members if end % BLOCK_BYTES]
    places += [len(whole) - 1, len(whole) - 1000]
    data = bytearray(whole)
    for place in places:
        data[place] ^= 0x20
        (tmp_path / "b.tar").write_bytes(data)
        with pytest.raises(EdgexaiError):
            unpack(tmp_path / "b.tar", tmp_path / "out" / "x")
        data[place] ^= 0x20
    assert not list((tmp_path / "out").iterdir())
