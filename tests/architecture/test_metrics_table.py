"""`docs/operations.md` lists each figure that a service has, with its labels, and none that there is not."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operations.md"
COUNTERS = ("Counter", "CounterMetricFamily")
FIGURES = (*COUNTERS, "Gauge", "GaugeMetricFamily", "Histogram", "HistogramMetricFamily")


def told() -> set[str]:
    """Return what the page's table names: `name{label,label}`."""
    text = PAGE.read_text()
    rows = re.findall(r"^\| (`fnbus_.*?) \|", text[text.index("| metric | what it is |") :], re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(fnbus_[^`]*)`", row)}


def real() -> set[str]:
    """Return what the services' metrics modules make, as the table writes it."""
    return {figure for module in ROOT.glob("services/*/metrics.py") for figure in figures(ast.parse(module.read_text()))}


def figures(module: ast.Module) -> set[str]:
    constants = {
        target.id: node.value
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found: set[str] = set()
    for call in ast.walk(module):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in FIGURES:
            name = str(ast.literal_eval(call.args[0])) + ("_total" if call.func.id in COUNTERS else "")
            found.add(name + labels(call, constants))
    return found


def labels(call: ast.Call, constants: dict[str, ast.expr]) -> str:
    """Return a figure's labels: the argument `labels`, or, for those that count by themselves, the third."""
    given = next((each.value for each in call.keywords if each.arg == "labels"), None)
    if given is None and len(call.args) > 2 and isinstance(call.args[2], ast.Tuple):
        given = call.args[2]
    if isinstance(given, ast.Name):
        given = constants[given.id]
    return "{" + ",".join(ast.literal_eval(given)) + "}" if given is not None else ""


def test_table_has_every_figure_with_its_labels_and_no_other() -> None:
    names = real()
    assert len(names) > 30
    assert told() == names
