"""What the doctor's looks tell: findings, printed as FastFN prints them, and what mends them where that is known."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """How a finding matters."""

    OK = "OK"
    """As it should be."""
    WARN = "WARN"
    """fnbus runs, but not all of it, or not as well as it could."""
    FAIL = "FAIL"
    """fnbus cannot run."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one look told."""

    id: str
    """What was looked at, stable for programs; its part before the dot is the domain."""
    verdict: Verdict
    text: str
    hint: str = ""
    """What to do about it."""
    details: Mapping[str, str] = field(default_factory=dict[str, str])
    mend: Callable[[], str] | None = None
    """Does it, and returns what was done."""


def report(scope: str, findings: Sequence[Finding], fixed: Sequence[str]) -> dict[str, Any]:
    """Return findings for programs.

    Args:
        scope: what was looked at as a whole.
        findings: what it told.
        fixed: what was mended before.
    """
    counted = {verdict.lower(): sum(each.verdict is verdict for each in findings) for verdict in Verdict}
    checks = [
        {
            "domain": each.id.partition(".")[0],
            "id": each.id,
            "status": each.verdict.value,
            "message": each.text,
            "hint": each.hint,
            "details": dict(each.details),
        }
        for each in findings
    ]
    return {
        "scope": scope,
        "generated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "checks": checks,
        "summary": counted,
        "fixed": list(fixed),
    }
