"""Hypothesis profiles, and a summary with one line per claim."""

from pathlib import Path
from typing import Any

import jax
import pytest
from hypothesis import HealthCheck, settings

from proofs_checks.common import cases, ledger
from proofs_checks.common.programs import forget_programs_at_times

jax.config.update("jax_enable_x64", True)

_ALWAYS: dict[str, Any] = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("ci", derandomize=True, **_ALWAYS)
settings.register_profile("deep", **_ALWAYS)
settings.load_profile("ci")


def pytest_addoption(parser):
    parser.addoption("--scale", type=float, default=1.0, help="multiplies the numbers of examples of the deep profile")
    parser.addoption(
        "--summary", metavar="FILE", help="write the claims that were checked to FILE, as a Markdown table"
    )


def pytest_configure(config):
    cases.SCALE = config.getoption("--scale")


def pytest_runtest_setup(item):
    forget_programs_at_times()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    ledger.take()
    try:
        return (yield)
    finally:
        item.user_properties.extend(("claim", entry) for entry in ledger.take())


def pytest_terminal_summary(terminalreporter, config):
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    calls = [report for report in reports if getattr(report, "when", None) == "call"]
    calls.sort(key=lambda report: report.location)
    entries = ledger.merge([entry for call in calls for name, entry in call.user_properties if name == "claim"])
    if not entries:
        return
    rows = [(e.claim, f"{e.examples:,}", f"{e.value:.2g}", f"{e.relation} {e.bound:.2g}") for e in entries]
    head = ("claim", "examples", "seen", "bound")
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(4)]
    terminalreporter.section("claims: what came nearest to its bound")
    for row in [head, *rows]:
        terminalreporter.write_line("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]))
    if path := config.getoption("--summary"):
        escaped = [[cell.replace("|", r"\|") for cell in row] for row in [head, ("---", "---:", "---:", "---:"), *rows]]
        lines = [" | ".join(["", *row, ""]).strip() for row in escaped]
        Path(path).write_text("\n".join(lines) + "\n")
