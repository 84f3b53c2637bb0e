"""The comparison of runs as Markdown: the same lines as on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgexai.report.card import escape_markdown as _escape


def comparison_markdown(
    runs: Sequence[Mapping[str, Any]], sections: Sequence[Mapping[str, Any]], paired: Sequence[Mapping[str, Any]]
) -> str:
    """The text.

    Args:
        runs, sections, paired: what ``side_by_side_page`` puts on its page.
    """
    letters = [run["letter"] for run in runs]
    parts = [
        "# " + " beside ".join(_escape(run["name"]) for run in runs),
        _table(
            ["", "Run", "Deployed", "Seed", "Gates"],
            [[r["letter"], f"{r['name']} {r['digest']}", r["deployed"], r["seed"], r["verdict"][1]] for r in runs],
        ),
        f"Differences are a run minus {letters[0]}. Their intervals (95 %) take the runs as independent.",
    ]
    parts += [f"- {r['letter']} is not comparable with {letters[0]}: {_escape('; '.join(r['why']))}."
              for r in runs if r["why"]]  # fmt: skip
    for section in sections:
        head = ["", *letters, *(f"{letter} − {letters[0]}" for letter in letters[1:])]
        lines = [
            [line["name"], *(_cell(*c) for c in line["cells"]), *(_difference(d) for d in line["differences"])]
            for line in section["lines"]
        ]
        parts += [f"## {section['title']}", _table(head, lines)]
    for table in paired:
        parts.append(f"## {table['letter']} minus {letters[0]}, paired by image")
        if table["reason"]:
            parts.append(f"{'Of nothing else' if table['lines'] else 'None'}: {_escape(table['reason'])}.")
        if table["lines"]:
            lines = [[ln["name"], _difference(ln["difference"]), f"{ln['n']:,}", ln["test"]] for ln in table["lines"]]
            parts.append(_table(["", "Difference", "n", "Test"], lines))
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(_escape(str(c)) for c in row) + " |" for row in rows)


def _cell(found: Any, row_id: str) -> str:
    parts = [found.text, f"({found.interval})" if found.interval else ""]
    parts += [f"n {found.n:,}" if found.n is not None else "", row_id]
    return " ".join(part for part in parts if part)


def _difference(word: Any) -> str:
    if word.reason:
        return f"not subtracted: {word.reason}"
    return f"{word.text} ({word.interval})" if word.interval else str(word.text)
