"""SARIF and JUnit: what a code host and a continuous integration accept, and that they say what the gates said.

With ``EDGEXAI_SARIF_SCHEMA`` set to OASIS's sarif-schema-2.1.0.json the files are also held against that schema.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from edgexai.measure.flags import FLAGS, check
from edgexai.measure.gates import decide
from edgexai.report.junit import junit
from edgexai.report.sarif import sarif
from edgexai.types import Row


def row(metric: str, value: float | None, low: float | None = None, **more: Any) -> Row:
    words: dict[str, Any] = {"arm": "pruned", "artefact": "int8-tensorrt", "subject": "engine", "unit": "fraction"}
    words |= {"n": 50, "low": low, "high": value, "interval": "none" if low is None else "wilson", **more}
    return Row(metric=metric, value=value, **words)


ROWS = [
    row("clean_acc", 0.99, 0.95),
    row("robust_acc", 0.5, 0.3, detail={"attack": "pgd", "eps": "8/255"}),
    row("robust_acc", 0.7, 0.6, detail={"attack": "square", "eps": "8/255"}),
    row("roi_share", None, status="skipped", reason="no boxes & no <masks>\x00"),
    row("deletion_auc", 0.2, 0.1, detail={"explainer": "ig"}, flags=("a_flag_of_tomorrow",)),
]
GATES = {
    "clean_acc": ">= 0.9",
    "robust_acc": ">= 0.4",
    "robust_acc attack=square eps=8/255": ">= 0.5",
    "roi_share": ">= 0.1",
    "final_arm": "pruned",
}


@pytest.fixture(scope="module")
def written() -> tuple[list[Row], list[dict[str, Any]], dict[str, Any], ElementTree.Element]:
    gates, said = decide(ROWS, GATES, final_arm="pruned")
    rows = check([*ROWS, *said])
    log = json.loads(sarif(rows, gates, name="a recipe"))
    return rows, gates, log, ElementTree.fromstring(junit(rows, gates, name="a recipe"))


def test_sarif_says_what_the_gates_said(written: Any) -> None:
    rows, gates, log, _ = written
    run = log["runs"][0]
    by = {result["ruleId"]: result for result in run["results"] if result["ruleId"].startswith("gate/")}
    assert len(by) == len(gates) == 4
    for gate in gates:
        result = by[f"gate/{gate['name']}"]
        assert result["level"] == ("none" if gate["passed"] else "error")
        assert result["kind"] == ("pass" if gate["passed"] else "fail")
        if not gate["passed"]:
            assert gate["reason"] in result["message"]["text"]
    assert {name for name, r in by.items() if r["kind"] == "fail"} == {"gate/robust_acc", "gate/roi_share"}
    place = by["gate/robust_acc"]["locations"][0]["physicalLocation"]
    assert place["region"]["startLine"] == 2  # the PGD row is the second line of measurements.jsonl
    assert by["gate/robust_acc attack=square eps=8/255"]["locations"][0]["physicalLocation"]["region"]["startLine"] == 3
    flags = {r["ruleId"].removeprefix("flag/") for r in run["results"] if r["ruleId"].startswith("flag/")}
    assert flags == {flag for row in rows for flag in row.flags}
    assert "few_images" in flags & set(FLAGS)
    (unmeasured,) = [r for r in run["results"] if r["ruleId"] == "unmeasured"]
    assert "no boxes" in unmeasured["message"]["text"]


def structural(log: dict[str, Any]) -> list[str]:
    """What SARIF 2.1.0 asks of the properties that are used here, by hand."""
    faults: list[str] = []
    faults += [] if log["version"] == "2.1.0" and set(log) == {"$schema", "version", "runs"} else ["log"]
    for run in log["runs"]:
        rules = run["tool"]["driver"]["rules"]
        ids = [rule["id"] for rule in rules]
        faults += [] if len(set(ids)) == len(ids) else ["rule ids"]
        for rule in rules:
            faults += [] if rule["shortDescription"]["text"] and rule["fullDescription"]["text"] else ["rule text"]
            known = rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")
            faults += [] if known else ["rule level"]
        prints = []
        for result in run["results"]:
            faults += [] if rules[result["ruleIndex"]]["id"] == result["ruleId"] else ["ruleIndex"]
            faults += [] if result["kind"] in ("pass", "open", "fail") else ["kind"]
            known = result["level"] in (("warning", "error") if result["kind"] == "fail" else ("none",))
            faults += [] if known else ["level"]
            faults += [] if result["message"]["text"] else ["message"]
            for place in result["locations"]:
                physical = place["physicalLocation"]
                uri, line = physical["artifactLocation"]["uri"], physical["region"]["startLine"]
                faults += [] if uri and not uri.startswith("/") and line >= 1 else ["location"]
            prints.append(json.dumps(result["partialFingerprints"]))
        faults += [] if len(set(prints)) == len(prints) else ["fingerprints"]
    return faults


def test_sarif_has_the_form_of_2_1_0(written: Any) -> None:
    log = written[2]
    assert structural(log) == []
    log = json.loads(json.dumps(log))
    log["runs"][0]["results"][0]["level"] = "fatal"
    assert structural(log)  # the checks can fail


def test_sarif_passes_the_published_schema(written: Any) -> None:
    path = os.environ.get("EDGEXAI_SARIF_SCHEMA")
    if not path:
        pytest.skip("set EDGEXAI_SARIF_SCHEMA to the file sarif-schema-2.1.0.json of OASIS's SARIF 2.1.0")
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(Path(path).read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(written[2])] == []
    spoiled = json.loads(json.dumps(written[2]))
    spoiled["runs"][0]["results"][0]["kind"] = "maybe"
    assert list(validator.iter_errors(spoiled))


ALLOWED = {
    "testsuites": ({"name", "time", "tests", "failures", "disabled", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "group", "time", "skipped", "timestamp", "hostname", "id", "package"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "testcase": (
        {"name", "time", "classname", "group"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": ({"type", "message"}, set()),
    "skipped": ({"type", "message"}, set()),
    "system-out": (set(), set()),
}
"""Jenkins' xUnit schema: element -> attributes and children that it allows."""


def test_junit_has_the_form_that_jenkins_reads(written: Any) -> None:
    root = written[3]
    assert root.tag == "testsuites"
    for element in root.iter():
        attributes, children = ALLOWED[element.tag]
        assert set(element.attrib) <= attributes, element.tag
        assert {child.tag for child in element} <= children, element.tag
    for suite in root:
        assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
        for key, tag in (("failures", "failure"), ("skipped", "skipped"), ("errors", "error")):
            assert int(suite.attrib[key]) == len(suite.findall(f"testcase/{tag}"))
        for case in suite:
            assert case.attrib["name"]
            assert case.attrib["classname"]
    for key in ("tests", "failures", "errors"):
        assert int(root.attrib[key]) == sum(int(suite.attrib[key]) for suite in root)


def test_junit_says_what_the_gates_said(written: Any) -> None:
    _, gates, _, root = written
    cases = root.findall("testsuite[@name='gates']/testcase")
    assert [case.attrib["name"] for case in cases] == [f"{g['name']} {g['condition']}" for g in gates]
    assert [case.find("failure") is None for case in cases] == [g["passed"] for g in gates]
    failed = cases[1].find("failure")
    assert failed is not None
    assert "0.3 is below 0.4" in failed.attrib["message"]
    skipped = root.find("testsuite[@name='not measured']/testcase/skipped")
    assert skipped is not None
    assert skipped.attrib["message"] == "no boxes & no <masks>?"  # what XML cannot hold is not in it


def test_nothing_to_say_is_still_a_file() -> None:
    log = json.loads(sarif([row("clean_acc", 0.9)], [], name="r"))
    assert log["runs"][0]["results"] == []
    assert structural(log) == []
    assert ElementTree.fromstring(junit([row("clean_acc", 0.9)], [], name="r")).attrib["tests"] == "0"
    assert sarif(ROWS, [], name="r") == sarif(ROWS, [], name="r")
