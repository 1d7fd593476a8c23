"""
A verdict as JUnit XML, as build servers read it.
"""

from collections.abc import Mapping
from typing import Any, Final
from xml.etree import ElementTree as ET

_GROUPS: Final = ("expectations", "invariants", "checks")
_ELEMENT_OF_STATUS: Final = {
    "failed": "failure",
    "inconclusive": "error",
    "skipped": "skipped",
}
_COUNTED: Final = (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))


def junit_xml(*summaries: Mapping[str, Any]) -> str:
    """
    Return a suite per run, with a test case per expectation, invariant and check.

    Two more cases, ``run completed`` and ``bench healthy``, say whether the others mean
    anything: an inconclusive or invalid run is no green one.
    """
    suites = ET.Element("testsuites")
    for summary in summaries:
        suites.append(_suite(summary))
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _suite(summary: Mapping[str, Any]) -> ET.Element:
    scenario, verdict = str(summary["scenario"]), summary["verdict"]
    suite = ET.Element("testsuite", name=scenario)
    for group in _GROUPS:
        for entry in summary.get(group, ()):
            case = ET.SubElement(
                suite,
                "testcase",
                classname=f"{scenario}.{group}",
                name=str(entry["id"]),
            )
            element = _ELEMENT_OF_STATUS.get(entry["status"])
            if element is not None:
                messages = [finding["message"] for finding in entry.get("findings", ())]
                ET.SubElement(
                    case, element, message="; ".join(messages) or entry["status"]
                )
    for name, is_fine in (
        ("run completed", summary.get("completed", True)),
        ("bench healthy", verdict != "invalid"),
    ):
        case = ET.SubElement(
            suite, "testcase", classname=f"{scenario}.bench", name=name
        )
        if not is_fine:
            ET.SubElement(case, "error", message=str(summary.get("reason") or verdict))
    suite.set("tests", str(len(suite)))
    for attribute, tag in _COUNTED:
        suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))
    return suite
