"""Gates as JUnit XML: what every continuous integration shows as passed and failed tests.

Source: the schema of Jenkins' xUnit plugin (JUnit itself has none); the attributes that it leaves optional and that
would change from run to run (timestamp, hostname) are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from edgexai.types import Row

_NOT_XML = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(rows: Sequence[Row], gates: Sequence[Mapping[str, Any]], *, name: str) -> str:
    """The whole file: one suite of gates, and one of rows that could not be measured, each "skipped".

    Args:
        rows: of the run.
        gates: verdicts as in gates.json; "reason" may be absent.
        name: of the recipe.
    """
    root = ElementTree.Element("testsuites", name=_clean(f"edgexai {name}"))
    deployed = next((f"{row.arm}.{row.artefact}" for row in rows if row.metric == "gate"), "engine")
    suite = ElementTree.SubElement(root, "testsuite", name="gates")
    for gate in gates:
        case = _case(suite, classname=f"{name}.{deployed}", name=f"{gate['name']} {gate['condition']}")
        numbers = f"value {gate['value']}, bound {gate['bound']}"
        if gate["passed"]:
            ElementTree.SubElement(case, "system-out").text = numbers
        else:
            said = _clean(str(gate.get("reason") or numbers))
            failure = ElementTree.SubElement(case, "failure", message=said, type="gate")
            failure.text = f"{said}\n{numbers}"
    _count(suite, failures=sum(not gate["passed"] for gate in gates))
    unmeasured = dict.fromkeys((row.metric, row.arm, row.artefact, row.reason or row.status)
                               for row in rows if row.value is None)  # fmt: skip
    if unmeasured:
        suite = ElementTree.SubElement(root, "testsuite", name="not measured")
        for metric, arm, artefact, reason in unmeasured:
            case = _case(suite, classname=f"{name}.{arm}.{artefact}", name=f"{metric}: {reason}")
            ElementTree.SubElement(case, "skipped", message=_clean(reason))
        _count(suite, failures=0, skipped=len(unmeasured))
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, *, classname: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=_clean(classname), name=_clean(name), time="0")


def _count(suite: ElementTree.Element, *, failures: int, skipped: int = 0) -> None:
    counts = {"tests": len(suite), "failures": failures, "errors": 0, "skipped": skipped}
    for key, value in counts.items():
        suite.set(key, str(value))


def _clean(text: str) -> str:
    """Without what XML 1.0 cannot hold at all."""
    return _NOT_XML.sub("?", text)
