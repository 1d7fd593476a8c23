"""
A verdict as JUnit XML, as build servers read it.
"""

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

_GROUPS = ("expectations", "invariants", "checks")


def junit_xml(summary: Mapping[str, Any]) -> str:
    """
    Return a test case per expectation, invariant and check.

    Two more cases, ``run completed`` and ``bench healthy``, say whether the others mean
    anything: an inconclusive or invalid run is no green one.
    """
    verdict = summary["verdict"]
    cases = [(group, entry) for group in _GROUPS for entry in summary.get(group, ())]
    suite = ET.Element("testsuite", name=str(summary["scenario"]))
    counts = {"failures": 0, "errors": 0, "skipped": 0}
    for group, entry in cases:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=f"{summary['scenario']}.{group}",
            name=str(entry["id"]),
        )
        message = "; ".join(finding["message"] for finding in entry.get("findings", ()))
        match entry["status"]:
            case "failed":
                counts["failures"] += 1
                ET.SubElement(case, "failure", message=message or "failed")
            case "inconclusive":
                counts["errors"] += 1
                ET.SubElement(case, "error", message=message or "inconclusive")
            case "skipped":
                counts["skipped"] += 1
                ET.SubElement(case, "skipped", message=message)
    for name, is_fine in (
        ("run completed", summary.get("completed", True)),
        ("bench healthy", verdict != "invalid"),
    ):
        case = ET.SubElement(
            suite, "testcase", classname=f"{summary['scenario']}.bench", name=name
        )
        if not is_fine:
            counts["errors"] += 1
            ET.SubElement(case, "error", message=str(summary.get("reason", verdict)))
    suite.set("tests", str(len(cases) + 2))
    for name, count in counts.items():
        suite.set(name, str(count))
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
