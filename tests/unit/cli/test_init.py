"""A new function: written whole, never over anything, and deployable as it is."""

import json
from pathlib import Path

import pytest

from cli import preflight, templates
from services.registry.homes.folder import FolderHome
from services.registry.source.files import FileSource
from tests.unit.cli.serving import run


@pytest.mark.parametrize("runtime", templates.RUNTIMES)
async def test_init_writes_a_function_of_that_name_and_route(
    runtime: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run(monkeypatch, "init", "acme/hello", "-t", runtime, "--path", str(tmp_path / "made")) == 0
    snapshot = await FileSource(FolderHome(tmp_path / "made")).load()
    (function,) = snapshot.functions
    assert (function.name, function.runtime) == ("acme/hello", runtime)
    assert {route.pattern for route in function.routes} == {"/acme/hello", "/acme/hello/*"}
    assert snapshot.problems == ()


def test_init_says_what_it_wrote_and_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "init", "hello") == 0
    out, err = capfd.readouterr()
    assert out.splitlines() == ["hello/fn.config.json", "hello/handler.py", "hello/requirements.txt"]
    assert "fnbus dev ." in err
    assert "/hello?name=Ada" in err


def test_init_leaves_what_is_there_as_it_is(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    Path("hello").mkdir()
    Path("hello/handler.py").write_text("mine")
    assert run(monkeypatch, "init", "hello") == 1
    assert "is there already" in capfd.readouterr().err
    assert Path("hello/handler.py").read_text() == "mine"
    assert [each.name for each in Path("hello").iterdir()] == ["handler.py"]


@pytest.mark.parametrize("name", ["../up", "a//b", "/etc", "_private", "a b", "", "a" * 101, "hello/../x", ".hidden"])
def test_init_refuses_a_name_that_no_function_can_have(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "init", "--", name) == 1
    assert "cannot be a function's name" in capfd.readouterr().err
    assert list(Path().iterdir()) == []


def test_init_names_the_languages_when_there_is_no_such_one(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "init", "hello", "-t", "cobol") == 1
    assert "python, node, deno, php, rust" in capfd.readouterr().err


def test_init_writes_where_the_project_keeps_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("fastfn.json").write_text(json.dumps({"functions-dir": "api"}))
    assert run(monkeypatch, "init", "hello") == 0
    assert Path("api/hello/handler.py").exists()


def test_init_writes_where_the_platform_that_runs_here_looks(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("watched").mkdir()
    state, functions = Path(".fnbus"), Path("watched").absolute()
    with preflight.hold_state(state, address="http://127.0.0.1:9000", functions=functions):
        assert run(monkeypatch, "init", "hello") == 0
    assert Path("watched/hello/handler.py").exists()
    out, err = capfd.readouterr()
    assert out.startswith("watched/hello/")
    assert "http://127.0.0.1:9000/hello?name=Ada" in err
