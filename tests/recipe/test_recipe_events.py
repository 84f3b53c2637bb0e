"""What a person sees: plain lines paced, bars only on a terminal."""

from __future__ import annotations

import io

from edgexai.recipe.events import show


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_are_paced() -> None:
    now = [0.0]
    stream = io.StringIO()
    with show(stream, clock=lambda: now[0]) as say:
        say({"what": "node-start", "node": "train", "at": 2, "of": 9})
        for second in range(1, 31):
            now[0] = float(second)
            say({"what": "epoch", "node": "train", "stage": "train", "done": second, "total": 30, "loss": 0.25})
        say({"what": "node-end", "node": "train", "at": 2, "of": 9, "seconds": 30.04})
        say({"what": "run-end"})
    assert stream.getvalue().splitlines() == [
        "[2/9] train ...",
        "  train: epoch 10/30 loss 0.25",
        "  train: epoch 20/30 loss 0.25",
        "  train: epoch 30/30 loss 0.25",
        "[2/9] train: done in 30.0 s",
    ]


def test_terminal_keeps_the_lasting_lines() -> None:
    stream = Terminal()
    with show(stream) as say:
        say({"what": "node-start", "node": "refine[control]", "at": 1, "of": 2})
        say({"what": "epoch", "node": "refine[control]", "done": 1, "total": 2})
        say({"what": "damaged", "node": "x", "problem": "state is missing", "path": "/p"})
        say({"what": "node-end", "node": "refine[control]", "at": 1, "of": 2, "seconds": 1.0})
        say({"what": "node-reused", "node": "prune", "at": 2, "of": 2})
    text = stream.getvalue()
    assert "[1/2] refine[control]: done in 1.0 s" in text
    assert "[2/2] prune: stored, reused" in text
    assert "state is missing" in text
    assert "\x1b[" in text
