"""Which output of a foreign network stands for each class of a data set.

A list of names decides: the user's, one line an output, else the file's own where it has one. Without any list the
number of outputs must be that of the classes, and their order is the caller's claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from edgexai.errors import UserError


def output_of(
    classes: Sequence[str], outputs: int, *, lines: Sequence[str] | None, told: Sequence[str] = ()
) -> tuple[int, ...]:
    """For every class of the data set, in order, the number of its output.

    Args:
        classes: of the data set.
        outputs: K of the network.
        lines: what the user says of each output: a class name (spaces at the ends and capitals do not count) or the
            number of a class; anything else is an output of none of these classes, and a decision for it is wrong.
        told: names in the file's metadata; used where they are the data set's classes in some order.

    Raises:
        UserError: numbers do not fit, a class is named twice, or a class has no output.
    """
    if lines is None:
        if len(told) == len(classes) == outputs and set(told) == set(classes):
            place = {name: k for k, name in enumerate(told)}
            return tuple(place[name] for name in classes)
        if outputs != len(classes):
            raise UserError(
                f"the engine has {outputs} classes, the data set {len(classes)}",
                next_step="--classes FILE: one line for each output, the name of its class; other outputs may have "
                "any other text",
            )
        return tuple(range(outputs))
    if len(lines) != outputs:
        raise UserError(
            f"--classes names {len(lines)} outputs, the engine has {outputs}",
            next_step="one line for each output, in the network's order; no empty lines between",
        )
    number = {name.strip().casefold(): k for k, name in enumerate(classes)}
    found: dict[int, int] = {}
    problems = []
    for output, line in enumerate(lines):
        text = line.strip().casefold()
        label = number.get(text)
        if label is None and text.isdecimal() and int(text) < len(classes):
            label = int(text)
        if label is None:
            continue
        if label in found:
            problems.append(f"line {output + 1}: {classes[label]!r} is also line {found[label] + 1}")
        found.setdefault(label, output)
    for label, name in enumerate(classes):
        if label not in found:
            near = get_close_matches(name, [line.strip() for line in lines], n=1)
            problems.append(f"no line for class {label}, {name!r}" + (f"; is it {near[0]!r}?" if near else ""))
    if problems:
        more = (f"... and {len(problems) - 10} more",) if len(problems) > 10 else ()
        raise UserError("--classes does not fit the data set", problems=(*problems[:10], *more))
    return tuple(found[label] for label in range(len(classes)))
