"""Fixtures for all tests."""

import asyncio
import functools
import inspect
import signal
from typing import Any

import pytest

_FIXTURES_SECONDS = 60.0
"""Of a test's time, what is left to its fixtures."""


def pytest_configure() -> None:
    """Let what tests start be interrupted: a run in the background of a shell has SIGINT ignored, and hands that on."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Everything here is asyncio."""
    return "asyncio"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Have an asynchronous test that takes too long end in its own task.

    The time limit that pytest knows interrupts the event loop instead, and leaves the test under way in the task that its
    fixtures need to be taken down.
    """
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return
    seconds = _limit(pyfuncitem) - _FIXTURES_SECONDS

    @functools.wraps(test)
    async def bounded(**arguments: Any) -> None:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await test(**arguments)
        except TimeoutError:
            if limit.expired():
                pytest.fail(f"not done after {seconds:g} s")
            raise

    pyfuncitem.obj = bounded


def _limit(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0] if marker and marker.args else item.config.getini("timeout"))
