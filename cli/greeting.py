"""Waits until a local platform takes calls, and gathers what its banner tells.

Imported while the services boot: what it needs takes as long to load as they take to start.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import httpx

from cli import preflight, survey
from cli.banner import Welcome
from cli.environment import Platform

_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 10.0


async def facts(platform: Platform, *, complain: Callable[[str], None]) -> Welcome:
    """Return what there is, once the folder has been read and calls can be taken.

    Args:
        platform: what was started.
        complain: told what is missing, every ten seconds that it takes.
    """
    address = f"http://{preflight.reachable(platform.host)}:{platform.port}"
    languages, (strength, weakness) = await asyncio.gather(survey.languages(), survey.isolation(platform.data))
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        look = _Look(client, complain)
        await look.until_ready(f"http://127.0.0.1:{platform.ops_ports['registry']}/readyz", name="registry")
        health = await look.until_ready(f"{address}/_fn/health", name="gateway")
        catalog = await look.until_still(f"{address}/_fn/catalog")
    executors: list[dict[str, Any]] = health.get("executors") or []
    isolation = str(executors[0]["isolation"]) if executors else "unknown"
    if isolation == "process":
        weakness = f"no sandbox: {weakness or 'FNBUS_ISOLATION says so'}; functions see this machine's files and network"
    elif isolation == strength.partition(",")[0]:
        isolation = strength  # what holds the limits, too
    return Welcome(
        address=address,
        catalog=catalog,
        present=[(each.name, each.availability.version) for each in languages if each.availability.present],
        missing=[(each.name, each.availability.hint) for each in languages if not each.availability.present],
        isolation=isolation,
        weakness=weakness if isolation == "process" else "",
    )


class _Look:
    """Asks services over HTTP, patiently: they start, and may be started again."""

    def __init__(self, client: httpx.AsyncClient, complain: Callable[[str], None]) -> None:
        self._client = client
        self._complain = complain
        self._complain_at = time.monotonic() + _PATIENCE_SECONDS

    async def until_ready(self, url: str, *, name: str) -> dict[str, Any]:
        """Ask until the answer is a yes, and return its words."""
        while True:
            status, said = await self._ask(url)
            if status == httpx.codes.OK.value:
                return said
            self._wait_for(f"{name}: {said.get('reason') or said.get('status') or said.get('error') or 'no answer yet'}")
            await asyncio.sleep(_POLL_SECONDS)

    async def until_still(self, url: str) -> dict[str, Any]:
        """Ask until two answers are equal: what the registry wrote last may still be on its way to the gateway."""
        before: dict[str, Any] = {}
        while True:
            status, now = await self._ask(url)
            if status and now == before:
                return now
            before = now
            await asyncio.sleep(_POLL_SECONDS)

    async def _ask(self, url: str) -> tuple[int, dict[str, Any]]:
        """Return status and words of an answer; 0 when there is none."""
        try:
            answer = await self._client.get(url)
            said: object = answer.json()
        except (httpx.TransportError, ValueError):
            return 0, {}
        return answer.status_code, cast("dict[str, Any]", said) if isinstance(said, dict) else {}

    def _wait_for(self, what: str) -> None:
        if time.monotonic() > self._complain_at:
            self._complain(f"still starting: {what}")
            self._complain_at = time.monotonic() + _PATIENCE_SECONDS
