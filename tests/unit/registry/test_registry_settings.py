"""Settings of the registry come from FNBUS_* and FastFN's FN_* names."""

from pathlib import Path

import pytest

from libs import settings
from libs.messages.catalog import Policy
from services.registry.settings import RegistrySettings, defaults, pace
from services.registry.source.watching import Pace


def test_settings_need_nothing() -> None:
    chosen = RegistrySettings()

    assert chosen.functions_root is None
    assert chosen.history_hours == 24
    assert chosen.history_max == 200_000


def test_settings_honour_the_names_of_fastfn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FN_FUNCTIONS_ROOT", "/srv/functions")
    monkeypatch.setenv("FN_NAMESPACE_DEPTH", "5")
    monkeypatch.setenv("FN_ZERO_CONFIG_IGNORE_DIRS", "build, dist,")
    monkeypatch.setenv("FN_FORCE_URL", "1")

    chosen = RegistrySettings()

    assert chosen.functions_root == Path("/srv/functions")
    assert chosen.namespace_depth == 5
    assert chosen.zero_config_ignore_dirs == ("build", "dist")
    assert chosen.force_url


def test_settings_prefer_our_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FN_FUNCTIONS_ROOT", "/theirs")
    monkeypatch.setenv("FNBUS_FUNCTIONS_ROOT", "/ours")

    assert RegistrySettings().functions_root == Path("/ours")


def test_settings_have_no_folder_when_the_variable_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FNBUS_FUNCTIONS_ROOT", "")

    assert RegistrySettings().functions_root is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FNBUS_HISTORY_MAX", "0"),
        ("FNBUS_HISTORY_HOURS", "soon"),
        ("FNBUS_RECONCILE_SECONDS", "0"),
        ("FN_NAMESPACE_DEPTH", "9"),
    ],
)
def test_settings_name_the_one_that_is_wrong(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as ended:
        settings.load(RegistrySettings)

    assert ended.value.code == 2
    assert name.partition("_")[2] in capsys.readouterr().err


def test_settings_have_fastfns_names_for_defaults_and_watching(monkeypatch: pytest.MonkeyPatch) -> None:
    assert defaults(RegistrySettings()) == Policy()
    assert pace(RegistrySettings()) == Pace()
    for name, value in {
        "FN_DEFAULT_TIMEOUT_MS": "9000",
        "FN_DEFAULT_MAX_CONCURRENCY": "0",
        "FN_DEFAULT_MAX_BODY_BYTES": "1000",
        "FN_HOT_RELOAD": "0",
        "FN_HOT_RELOAD_WATCHDOG": "0",
        "FN_HOT_RELOAD_INTERVAL": "0.5",
        "FN_HOT_RELOAD_DEBOUNCE_MS": "150",
        "FN_RUNTIMES": "node, python,lua",
    }.items():
        monkeypatch.setenv(name, value)
    chosen = RegistrySettings()
    assert defaults(chosen) == Policy(timeout_ms=9000, max_concurrency=0, max_body_bytes=1000)
    assert pace(chosen) == Pace(poll=True, poll_ms=500, quiet_ms=150)
    assert chosen.hot_reload is False
    assert chosen.runtimes == ("node", "python", "lua")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FN_DEFAULT_TIMEOUT_MS", "0"),
        ("FN_DEFAULT_MAX_CONCURRENCY", "-1"),
        ("FN_DEFAULT_MAX_BODY_BYTES", "0"),
        ("FN_HOT_RELOAD", "perhaps"),
        ("FN_HOT_RELOAD_INTERVAL", "0"),
        ("FN_NAMESPACE_DEPTH", "6"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        settings.load(RegistrySettings)
    assert name.removeprefix("FN_") in capsys.readouterr().err
