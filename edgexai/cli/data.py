"""``edgexai data``: which data sets there are, downloading one, checking one, adding one's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Data sets: list, download, check, add your own.", no_args_is_help=True)

Root = Annotated[Path | None, typer.Option("--data-root", help="folder with the data; else EDGEXAI_DATA, else home")]
Json = Annotated[bool, typer.Option("--json", help="for machines")]


@app.command("ls")
def ls(as_json: Json = False, data_root: Root = None) -> None:
    """Lists the data sets, shipped and your own, and whether they are here."""
    from edgexai.config.cards import card_names, read_card
    from edgexai.errors import UserError

    rows: list[dict[str, Any]] = []
    for name in card_names():
        try:
            card = read_card(name)
        except UserError as error:
            # One damaged card of the user's must not hide the others.
            rows.append({"name": name, "here": None, "fault": str(error)})
            continue
        about = card.model_dump(mode="json", include={"title", "kind", "source", "licence", "citation", "classes"})
        about |= {"traps": card.traps, "digests": card.digests, "own": card.own is not None}
        rows.append({"name": name, "here": _place(name, data_root), **about})
    if as_json:
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    for row in rows:
        if "fault" in row:
            typer.echo(f"{row['name']:<16}{row['fault']}")
            continue
        absent = "not here any more" if row["own"] else f"not here: edgexai data fetch {row['name']}"
        typer.echo(f"{row['name']:<16}{row['title']}; {len(row['classes'])} classes\n{'':<16}{row['here'] or absent}")
        typer.echo(f"{'':<16}source: {row['source']}\n{'':<16}licence: {row['licence']}")


@app.command("fetch")
def fetch(name: str, data_root: Root = None) -> None:
    """Downloads a data set, unless it is here or rendered."""
    from edgexai.config.cards import read_card
    from edgexai.data.fetch import fetch as fetch_it
    from edgexai.data.locate import search_roots

    read_card(name)
    if (place := _place(name, data_root)) and not (name == "cifar10c" and "generated" in place):
        typer.echo(f"{name}: {place}; nothing to fetch")
        return
    typer.echo(f"{name}: downloaded to {fetch_it(name, search_roots(data_root=data_root)[0])}")


@app.command("check")
def check(name: str, data_root: Root = None, as_json: Json = False) -> None:
    """Decodes every image of a data set and says what is in it; ends with every fault where there are any."""
    from edgexai.config.cards import read_card
    from edgexai.config.recipe import DataTable
    from edgexai.data.duplicates import duplicates
    from edgexai.data.load import load
    from edgexai.data.place import find_place
    from edgexai.data.published import published
    from edgexai.errors import UserError

    card = read_card(name)
    place = find_place(name, data_root=data_root)
    files = published(card, place) if place else {}
    if other := [str(path) for path, same in files.items() if not same]:
        raise UserError(
            f"{name}: {len(other)} files are not the published ones",
            problems=tuple(f"{path}: its digest is not the card's" for path in other),
            next_step="fetch them again",
        )
    table = DataTable.model_validate({"name": name})
    data = load(table, seed=0, data_root=data_root, progress=_progress if not as_json else None)
    learnt = [s.name for s in card.splits if s.use != "test"]
    seen = [data.splits[key] for key in learnt if key in data.splits]
    splits = []
    for key in data.splits:
        # Of the corrupted splits, the strongest of each corruption stands for its five.
        if card.kind == "corrupted" and key[-2:] in ("_1", "_2", "_3", "_4"):
            continue
        split = data.splits[key]
        line: dict[str, Any] = {"split": key, "images": len(split), "classes": len(set(split.labels.tolist()))}
        line["tracks"] = len(set(split.tracks[split.tracks >= 0].tolist()))
        line["seen_in_training"] = len(duplicates(seen, split)) if key not in learnt else 0
        splits.append(line)
    about: dict[str, Any] = {"name": name, "source": card.source, "licence": card.licence, "classes": data.classes}
    about |= {"files": place.what if place else "rendered here", "published_files": len(files)}
    about |= {"mean": data.mean, "std": data.std, "splits": splits, "traps": card.traps}
    if as_json:
        typer.echo(json.dumps(about, indent=1, ensure_ascii=False))
        return
    for line in splits:
        typer.echo(
            f"{name}.{line['split']}: {line['images']} images, {line['classes']} of {len(data.classes)} classes, "
            f"{line['tracks']} tracks"
            + (f", {line['seen_in_training']} identical to training images" if line["seen_in_training"] else "")
        )
    typer.echo(f"files: {about['files']}" + (f"; {len(files)} are as published" if files else ""))
    typer.echo(f"classes: {', '.join(data.classes)}\nsource: {card.source}\nlicence: {card.licence}")
    for trap in card.traps:
        typer.echo(f"beware: {trap}")


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What recipes will call it.")],
    path: Annotated[Path, typer.Argument(help="A folder with one folder per class, or a CSV with path and label.")],
    title: Annotated[str, typer.Option("--title", help="One line for the card.")] = "",
    licence: Annotated[str, typer.Option("--licence", help="Of the images, for the card.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a card of your own of that name.")] = False,
) -> None:
    """Makes your own images a data set: checks every file, then writes a card that recipes can name."""
    from edgexai.data.add import add_own

    added = add_own(name, path, title=title, licence=licence, replace=force, progress=_progress)
    counts = ", ".join(f"{split} {n}" for split, n in added.images.items())
    known = [what for what, here in (("boxes", added.boxes), ("tracks", added.tracks)) if here]
    typer.echo(f"{name}: {len(added.classes)} classes, {counts}; {' and '.join(known) or 'no boxes, no tracks'}")
    if added.seen_in_training:
        typer.echo(f"beware: {added.seen_in_training} test images are equal to training images")
    typer.echo(f'card: {added.card}\nin a recipe: data.name = "{name}"')


def _place(name: str, data_root: Path | None) -> str | None:
    """Where a data set is, in words; None when it is absent."""
    from edgexai.data.place import find_place
    from edgexai.errors import MissingCapability

    try:
        place = find_place(name, data_root=data_root)
    except MissingCapability:
        return None
    return "rendered here" if place is None else f"in {place.base}: {place.what}"


def _progress(event: Mapping[str, Any]) -> None:
    """A line every ten thousand images, on the error stream."""
    done, total = event.get("done"), event.get("total")
    if isinstance(done, int) and isinstance(total, int) and (done == total or done % 9984 == 0):
        typer.echo(f"{event.get('what', '')} {done}/{total}", err=True)
