"""``edgexai data``: which data sets there are, downloading one, checking one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Data sets: list, download, check.", no_args_is_help=True)

Root = Annotated[Path | None, typer.Option("--data-root", help="folder with the data; else EDGEXAI_DATA, else home")]
Json = Annotated[bool, typer.Option("--json", help="for machines")]


@app.command("ls")
def ls(as_json: Json = False, data_root: Root = None) -> None:
    """Lists the data sets and whether they are here."""
    from edgexai.data.card import card_names, read_card

    rows = []
    for name in card_names():
        card = read_card(name)
        here = _place(name, data_root)
        rows.append({"name": name, "here": here, "title": card.title, "source": card.source, "licence": card.licence})
    if as_json:
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    for row in rows:
        fetch_it = f"not here: edgexai data fetch {row['name']}"
        typer.echo(f"{row['name']:<16}{row['title']}\n{'':<16}{row['here'] or fetch_it}")
        typer.echo(f"{'':<16}source: {row['source']}\n{'':<16}licence: {row['licence']}")


@app.command("fetch")
def fetch(name: str, data_root: Root = None) -> None:
    """Downloads a data set, unless it is here or rendered."""
    from edgexai.data.card import read_card
    from edgexai.data.fetch import fetch_gtsrb
    from edgexai.data.locate import search_roots

    read_card(name)
    if place := _place(name, data_root):
        typer.echo(f"{name}: {place}; nothing to fetch")
        return
    typer.echo(f"{name}: downloaded to {fetch_gtsrb(search_roots(data_root=data_root)[0])}")


@app.command("check")
def check(name: str, data_root: Root = None, as_json: Json = False) -> None:
    """Decodes every image of a data set and says what is in it; ends with every fault where there are any."""
    from edgexai.config.recipe import DataTable
    from edgexai.data.card import read_card
    from edgexai.data.duplicates import duplicates
    from edgexai.data.load import load

    card = read_card(name)
    table = DataTable.model_validate({"name": name})
    data = load(table, seed=0, data_root=data_root, progress=_progress if not as_json else None)
    learnt = [s.name for s in card.splits if s.use != "test"]
    seen = [data.splits[key] for key in learnt if key in data.splits]
    splits = []
    for key, split in data.splits.items():
        line: dict[str, Any] = {"split": key, "images": len(split), "classes": len(set(split.labels.tolist()))}
        line["tracks"] = len(set(split.tracks[split.tracks >= 0].tolist()))
        line["seen_in_training"] = len(duplicates(seen, split)) if key not in learnt else 0
        splits.append(line)
    about = {"name": name, "mean": data.mean, "std": data.std, "splits": splits, "traps": card.traps}
    if as_json:
        typer.echo(json.dumps(about, indent=1, ensure_ascii=False))
        return
    for line in splits:
        typer.echo(
            f"{name}.{line['split']}: {line['images']} images, {line['classes']} classes, {line['tracks']} tracks"
            + (f", {line['seen_in_training']} identical to training images" if line["seen_in_training"] else "")
        )
    for trap in card.traps:
        typer.echo(f"beware: {trap}")


def _place(name: str, data_root: Path | None) -> str | None:
    """Where a data set is, in words; None when it is absent."""
    from edgexai.data.card import read_card
    from edgexai.data.locate import locate_gtsrb
    from edgexai.errors import MissingCapability

    if read_card(name).kind == "rendered":
        return "rendered here"
    try:
        return f"in {locate_gtsrb(data_root=data_root).base}"
    except MissingCapability:
        return None


def _progress(event: Mapping[str, Any]) -> None:
    """A line every ten thousand images, on the error stream."""
    done, total = event.get("done"), event.get("total")
    if isinstance(done, int) and isinstance(total, int) and (done == total or done % 9984 == 0):
        typer.echo(f"{event.get('what', '')} {done}/{total}", err=True)
