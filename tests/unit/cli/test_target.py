"""Which gateway a command talks to, and with what."""

import os
from pathlib import Path

import pytest

from cli import preflight, profiles, target
from cli.errors import CommandError
from cli.profiles import Book, Profile

PROD = Profile(name="prod", url="https://prod.example", token="prod-token", session="s=1")
LAB = Profile(name="lab", url="http://lab.example")


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment with two profiles, none of them in use."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "config.toml"
    profiles.save(file, Book(profiles={"prod": PROD, "lab": LAB}))
    return {"FNBUS_CONFIG": str(file)}


def use(told: dict[str, str], name: str) -> None:
    profiles.save(Path(told["FNBUS_CONFIG"]), Book(current=name, profiles={"prod": PROD, "lab": LAB}))


def test_target_is_the_usual_address_when_nothing_is_said(told: dict[str, str]) -> None:
    assert target.choose(environment=told) == target.Address(url=target.USUAL)


def test_target_is_what_runs_in_this_folder_when_nothing_is_said(told: dict[str, str]) -> None:
    with preflight.hold_state(Path(".fnbus"), address="http://127.0.0.1:9123", functions=Path("functions")):
        assert target.choose(environment=told).url == "http://127.0.0.1:9123"


def test_target_is_the_profile_in_use_with_what_opens_it(told: dict[str, str]) -> None:
    use(told, "prod")
    found = target.choose(environment=told)
    assert (found.url, found.token, found.session, found.profile) == ("https://prod.example", "prod-token", "s=1", "prod")


def test_target_is_the_profile_that_is_named_rather_than_the_one_in_use(told: dict[str, str]) -> None:
    use(told, "prod")
    assert target.choose(profile="lab", environment=told).url == LAB.url
    assert target.choose(environment=told | {"FNBUS_PROFILE": "lab"}).url == LAB.url
    assert target.choose(profile="lab", environment=told | {"FNBUS_URL": "http://other.example"}).url == LAB.url


@pytest.mark.parametrize("by_variable", [False, True])
def test_target_of_a_url_gets_no_credentials_of_a_profile(told: dict[str, str], by_variable: bool) -> None:
    use(told, "prod")
    typed, said = ("", {"FNBUS_URL": "http://other.example"}) if by_variable else ("http://other.example", {})
    found = target.choose(url=typed, environment=told | said)
    assert (found.url, found.token, found.session) == ("http://other.example", "", "")


@pytest.mark.parametrize("variable", ["FNBUS_TOKEN", "FNBUS_ADMIN_TOKEN", "FN_ADMIN_TOKEN"])
def test_target_has_the_token_of_the_environment_when_none_was_typed(told: dict[str, str], variable: str) -> None:
    said = told | {variable: "from-environment"}
    assert target.choose(environment=said).token == "from-environment"
    assert target.choose(token="typed", environment=said).token == "typed"
    assert target.choose(profile="prod", environment=said).token == "prod-token"


def test_target_is_refused_when_two_are_named(told: dict[str, str]) -> None:
    with pytest.raises(CommandError, match="leave one out"):
        target.choose(url="http://a.example", profile="prod", environment=told)


def test_target_is_refused_when_there_is_no_such_profile(told: dict[str, str]) -> None:
    with pytest.raises(CommandError, match="did you mean prod"):
        target.choose(profile="prodd", environment=told)


def test_address_never_shows_what_opens_it(told: dict[str, str]) -> None:
    shown = repr(target.choose(profile="prod", environment=told))
    assert "prod-token" not in shown
    assert "s=1" not in shown


def test_profiles_come_back_as_they_were_written(tmp_path: Path) -> None:
    odd = Profile(name='a "b".c', url="https://x.example/ü?q=\x7f", token="\\ \n \t '")
    book = Book(current=odd.name, profiles={odd.name: odd, "prod": PROD})
    profiles.save(tmp_path / "new" / "config.toml", book)
    assert profiles.load(tmp_path / "new" / "config.toml") == book


def test_profiles_are_for_nobody_else_to_read(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("")
    file.chmod(0o644)
    assert profiles.is_open_to_others(file)
    profiles.save(file, Book())
    assert not profiles.is_open_to_others(file)
    assert os.listdir(tmp_path) == ["config.toml"]


@pytest.mark.parametrize("text", ["not toml", "[profiles.a]\ntoken = 'x'\n"])
def test_profiles_that_cannot_be_understood_are_one_line_with_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(CommandError, match=r"config\.toml"):
        profiles.load(tmp_path / "config.toml")


def test_profiles_lie_where_the_desktop_keeps_configuration() -> None:
    assert profiles.path({"HOME": "/home/ada"}) == Path("/home/ada/.config/fnbus/config.toml")
    assert profiles.path({"HOME": "/home/ada", "XDG_CONFIG_HOME": "/etc/xdg"}) == Path("/etc/xdg/fnbus/config.toml")
    assert profiles.path({"HOME": "/home/ada", "XDG_CONFIG_HOME": "relative"}) == Path("/home/ada/.config/fnbus/config.toml")
