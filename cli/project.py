"""A project's own file, `fastfn.json`, as FastFN has it: where the functions are, and how they are run.

Fields that mean FastFN's own processes are named as not used.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from cli.errors import CommandError

NAMES = ("fastfn.json", "fastfn.toml")
"""The second one is how it used to be written."""


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A domain under which the functions are to be reached."""

    name: str
    target: str = ""
    """Where its name is to lead, an address or another name; empty: anywhere."""
    enforce_https: bool = False
    """Whether plain HTTP is to lead to HTTPS."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """What a project's file says."""

    file: Path | None = None
    functions: Path | None = None
    """The functions folder."""
    hot_reload: bool | None = None
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    """Settings of the services, without their prefix."""
    domains: tuple[Domain, ...] = ()
    unused: tuple[str, ...] = ()
    """Fields that mean nothing here."""

    def variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the settings as variables, but for those that the environment has under either of their names."""
        return {
            f"FNBUS_{name}": value
            for name, value in self.settings.items()
            if not {f"FNBUS_{name}", f"FN_{name}"} & environment.keys()
        }


def find(folder: Path) -> Project:
    """Read the project's file in a folder; an empty project when there is none.

    Raises:
        CommandError: it cannot be read or understood.
    """
    for name in NAMES:
        if (folder / name).is_file():
            return read(folder / name)
    return Project()


def read(file: Path) -> Project:
    """Read a project's file.

    Raises:
        CommandError: there is none, or it cannot be read or understood.
    """
    try:
        text = file.read_text()
        found: object = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}") from None
    except (json.JSONDecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be understood: {error}") from None
    if not isinstance(found, dict):
        raise CommandError(f"{file} is to hold an object")
    project = Project(file=file)
    for key, value in cast("dict[str, Any]", found).items():
        take = _FIELDS.get(key.replace("_", "-").lower())
        try:
            project = take(project, value) if take else replace(project, unused=(*project.unused, key))
        except TypeError as error:
            raise CommandError(f"{file}: {key} {error}") from None
    return project


def _functions(project: Project, value: object) -> Project:
    beside = project.file.parent if project.file else Path()
    return replace(project, functions=beside / _string(value))


def _hot_reload(project: Project, value: object) -> Project:
    return replace(project, hot_reload=_flag(value))


def _domains(project: Project, value: object) -> Project:
    if not isinstance(value, list):
        raise TypeError("is to be a list")
    return replace(project, domains=tuple(_domain(each) for each in cast("list[object]", value)))


def _domain(value: object) -> Domain:
    if isinstance(value, str):
        return Domain(name=value)
    if not isinstance(value, dict):
        raise TypeError("is to hold names, or objects with a domain")
    told = {name.replace("_", "-").lower(): each for name, each in cast("dict[str, Any]", value).items()}
    return Domain(
        name=_string(told.get("domain", told.get("name"))),
        target=_string(told.get("expected-target", "")),
        enforce_https=_flag(told.get("enforce-https", False)),
    )


def _setting(name: str, kind: Callable[[object], str | bool]) -> "Callable[[Project, object], Project]":
    def take(project: Project, value: object) -> Project:
        read = kind(value)
        text = read if isinstance(read, str) else str(int(read))
        return replace(project, settings={**project.settings, name: text})

    return take


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("is to be text")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("is to be true or false")
    return value


_FIELDS: Mapping[str, Callable[[Project, object], Project]] = {
    "functions-dir": _functions,
    "public-base-url": _setting("PUBLIC_BASE_URL", _string),
    "openapi-include-internal": _setting("OPENAPI_INCLUDE_INTERNAL", _flag),
    "force-url": _setting("FORCE_URL", _flag),
    "hot-reload": _hot_reload,
    "domains": _domains,
}
