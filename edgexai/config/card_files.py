"""Where dataset cards lie: those that ship, and the user's own in ``EDGEXAI_HOME/datasets``. Opens none of them."""

from __future__ import annotations

import difflib
from pathlib import Path

from edgexai.config.home import default_home
from edgexai.config.shipped import folder


def own_cards(home: Path | None = None) -> Path:
    """The folder of the user's own cards; it need not exist."""
    return (home or default_home()) / "datasets"


def card_files() -> dict[str, Path]:
    """Name -> file of every card, sorted by name; a shipped card wins over a user's of the same name."""
    own = {path.stem: path for path in own_cards().glob("*.toml")}
    shipped = {path.stem: path for path in folder("datasets").glob("*.toml")}
    return dict(sorted({**own, **shipped}.items()))


def unknown_card(name: str) -> str:
    """What to tell who asks for a card that is not there; empty where it is."""
    names = list(card_files())
    if name in names:
        return ""
    near = difflib.get_close_matches(name, names, n=1)
    return (
        f'no data set "{name}"' + (f'; did you mean "{near[0]}"?' if near else "") + f"; there are: {', '.join(names)}"
    )
