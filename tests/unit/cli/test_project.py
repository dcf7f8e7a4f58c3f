"""What a project's own file means, and what is said of one that cannot be used."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli import project
from cli.errors import CommandError
from cli.project import Domain


def read(tmp_path: Path, content: Any) -> project.Project:
    (tmp_path / "fastfn.json").write_text(json.dumps(content))
    return project.find(tmp_path)


def test_project_has_nothing_to_say_without_a_file(tmp_path: Path) -> None:
    assert project.find(tmp_path) == project.Project()


def test_project_names_the_folder_beside_its_file(tmp_path: Path) -> None:
    assert read(tmp_path, {"functions-dir": "api"}).functions == tmp_path / "api"
    assert read(tmp_path, {"functions-dir": "/srv/api"}).functions == Path("/srv/api")


def test_project_s_settings_are_the_services_but_for_those_of_the_environment(tmp_path: Path) -> None:
    told = read(tmp_path, {"force-url": True, "openapi-include-internal": False, "public-base-url": "https://x.example"})
    assert told.variables({}) == {
        "FNBUS_FORCE_URL": "1",
        "FNBUS_OPENAPI_INCLUDE_INTERNAL": "0",
        "FNBUS_PUBLIC_BASE_URL": "https://x.example",
    }
    environment = {"FN_FORCE_URL": "0", "FNBUS_PUBLIC_BASE_URL": "https://y.example"}
    assert told.variables(environment) == {"FNBUS_OPENAPI_INCLUDE_INTERNAL": "0"}


def test_project_takes_hot_reload_and_domains(tmp_path: Path) -> None:
    told = read(tmp_path, {
        "hot-reload": False,
        "domains": ["a.example", {"domain": "b.example", "expected-target": "192.0.2.1", "enforce-https": True}],
    })  # fmt: skip
    assert told.hot_reload is False
    assert told.domains == (Domain(name="a.example"), Domain(name="b.example", target="192.0.2.1", enforce_https=True))


def test_project_names_the_fields_that_mean_nothing_here(tmp_path: Path) -> None:
    told = read(tmp_path, {"runtime-daemons": {"node": 2}, "runtime-binaries": {}, "hot-reload": True, "new": 1})
    assert told.unused == ("runtime-daemons", "runtime-binaries", "new")


def test_project_is_read_in_its_former_form(tmp_path: Path) -> None:
    (tmp_path / "fastfn.toml").write_text('functions-dir = "api"\nforce_url = true\n')
    told = project.find(tmp_path)
    assert told.functions == tmp_path / "api"
    assert told.settings == {"FORCE_URL": "1"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be understood"),
        ("[]", "is to hold an object"),
        ('{"functions-dir": 1}', "functions-dir is to be text"),
        ('{"force-url": "yes"}', "force-url is to be true or false"),
        ('{"domains": {}}', "domains is to be a list"),
        ('{"domains": [1]}', "domains is to hold names"),
    ],
)
def test_project_that_cannot_be_used_is_one_line_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "fastfn.json").write_text(text)
    with pytest.raises(CommandError, match=f"fastfn.json.*{said}"):
        project.find(tmp_path)
