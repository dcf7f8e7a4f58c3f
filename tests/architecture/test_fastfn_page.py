"""`docs/fastfn.md` names every variable of FastFN; those that are said to work are those that services read."""

import re
from pathlib import Path

import pytest
from pydantic import AliasChoices

from libs.settings import ServiceSettings
from services.executor.settings import ExecutorSettings
from services.gateway.settings import GatewaySettings
from services.registry.settings import RegistrySettings
from services.scheduler.settings import SchedulerSettings

PAGE = (Path(__file__).parents[2] / "docs" / "fastfn.md").read_text()
WORKING, _, IDLE = PAGE.partition("## Environment variables")[2].partition("These do nothing here")
CLASSES: tuple[type[ServiceSettings], ...] = (GatewaySettings, RegistrySettings, ExecutorSettings, SchedulerSettings)

FASTFN = """
FN_FUNCTIONS_ROOT FN_RUNTIMES FN_RUNTIME_SOCKETS FN_RUNTIME_DAEMONS FN_SOCKET_BASE_DIR FN_HOST_PORT FN_NAMESPACE_DEPTH
FN_ZERO_CONFIG_IGNORE_DIRS FN_FORCE_URL FN_PUBLIC_BASE_URL FN_DEFAULT_TIMEOUT_MS FN_DEFAULT_MAX_CONCURRENCY
FN_DEFAULT_MAX_BODY_BYTES FN_HEALTH_INTERVAL FN_MAX_FRAME_BYTES FN_HTTP_VERIFY_TLS FN_RUNTIME_LOG_FILE FN_HOT_RELOAD
FN_HOT_RELOAD_INTERVAL FN_HOT_RELOAD_WATCHDOG FN_HOT_RELOAD_WATCHDOG_POLL FN_HOT_RELOAD_DEBOUNCE_MS FN_SCHEDULER_ENABLED
FN_SCHEDULER_INTERVAL FN_SCHEDULER_PERSIST_ENABLED FN_SCHEDULER_PERSIST_INTERVAL FN_SCHEDULER_STATE_PATH FN_JOBS_ENABLED
FN_JOBS_DIR FN_JOBS_POLL_INTERVAL FN_JOBS_MAX_CONCURRENCY FN_JOBS_MAX_RESULT_BYTES FN_UI_ENABLED FN_CONSOLE_API_ENABLED
FN_ADMIN_API_ENABLED FN_CONSOLE_WRITE_ENABLED FN_CONSOLE_LOCAL_ONLY FN_ADMIN_TOKEN FN_PUBLIC_EXPLORE
FN_CONSOLE_WRITE_RATE_LIMIT_MAX FN_TRUSTED_PROXY_CIDRS FN_DOCS_ENABLED FN_OPENAPI_INCLUDE_INTERNAL FN_AUTO_REQUIREMENTS
FN_AUTO_NODE_DEPS FN_AUTO_PHP_DEPS FN_AUTO_INFER_PY_DEPS FN_AUTO_INFER_NODE_DEPS FN_AUTO_INFER_WRITE_MANIFEST
FN_AUTO_INFER_STRICT FN_PREINSTALL_PY_DEPS_ON_START FN_PREINSTALL_NODE_DEPS_ON_START FN_PREINSTALL_NODE_DEPS_CONCURRENCY
FN_PY_INFER_BACKEND FN_NODE_INFER_BACKEND FN_PY_SOCKET FN_NODE_SOCKET FN_PHP_SOCKET FN_RUST_SOCKET FN_GO_SOCKET
FN_PY_POOL_ACQUIRE_TIMEOUT_MS FN_PY_POOL_IDLE_TTL_MS FN_PY_POOL_REAPER_INTERVAL_MS FN_NODE_POOL_ACQUIRE_TIMEOUT_MS
FN_NODE_POOL_IDLE_TTL_MS FN_NODE_POOL_REAPER_INTERVAL_MS FN_PHP_POOL_ACQUIRE_TIMEOUT_MS FN_PHP_POOL_IDLE_TTL_MS
FN_PHP_POOL_REAPER_INTERVAL_MS FN_RUST_POOL_ACQUIRE_TIMEOUT_MS FN_RUST_POOL_IDLE_TTL_MS FN_RUST_POOL_REAPER_INTERVAL_MS
FN_GO_POOL_ACQUIRE_TIMEOUT_MS FN_GO_POOL_IDLE_TTL_MS FN_GO_POOL_REAPER_INTERVAL_MS FN_PY_RUNTIME_WORKER_POOL
FN_NODE_RUNTIME_PROCESS_POOL FN_RUST_RUNTIME_WORKER_POOL FN_GO_RUNTIME_WORKER_POOL FN_RUST_BUILD_TIMEOUT_S
FN_GO_BUILD_TIMEOUT_S FN_STRICT_FS FN_STRICT_FS_ALLOW FN_DOCKER_USER FN_DOCKER_RUN_AS_ROOT FN_DEV_VERBOSE_LOGS
FN_NATIVE_SESSION_FILE FN_WAIT_RUNTIME_READY_ON_START BASE_URL FASTFN_TEST_BASE_URL FASTFN_INTERNAL_BASE FN_NODE_BIN
FN_PHP_BIN
"""


def named(text: str) -> set[str]:
    """Return the variables in a text."""
    return set(re.findall(r"`((?:FN|FASTFN)_[A-Z_]+[A-Z]|BASE_URL)`", text))


def families(text: str) -> tuple[str, ...]:
    """Return the beginnings of names that a text has with dots after them."""
    return tuple(re.findall(r"`(FN_[A-Z_]+_)…`", text))


def read() -> set[str]:
    """Return FastFN's variables that services read."""
    aliases = (field.validation_alias for kind in CLASSES for field in kind.model_fields.values())
    names = (str(name) for alias in aliases if isinstance(alias, AliasChoices) for name in alias.choices)
    return {name for name in names if name.startswith("FN_")}


@pytest.mark.parametrize("variable", FASTFN.split())
def test_page_names_every_variable_of_fastfn(variable: str) -> None:
    assert variable in named(WORKING) | named(IDLE) or variable.startswith(families(WORKING))


def test_page_says_of_no_variable_that_it_works_and_does_not() -> None:
    assert not named(WORKING) & named(IDLE)


def test_variables_that_are_said_to_work_are_read() -> None:
    assert named(WORKING) <= read()


def test_variables_that_are_read_are_said_to_work() -> None:
    missing = {name for name in read() - named(WORKING) if not name.startswith(families(WORKING))}
    assert not missing, f"docs/fastfn.md does not say what becomes of {', '.join(sorted(missing))}"
