"""`docs/settings.md` says what the settings classes say: each variable, its default, and the text below the field.

The tables are written from the classes by `python -m tests.architecture.test_settings_page`; the rest of the page is prose.
"""

import ast
import inspect
import re
from pathlib import Path

import pytest
from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from libs.settings import ServiceSettings
from services.executor.settings import ExecutorSettings
from services.gateway.settings import GatewaySettings
from services.registry.settings import RegistrySettings
from services.scheduler.settings import SchedulerSettings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
SECTIONS: dict[str, type[ServiceSettings]] = {
    "Every service": ServiceSettings,
    "Gateway": GatewaySettings,
    "Registry": RegistrySettings,
    "Executor": ExecutorSettings,
    "Scheduler": SchedulerSettings,
}


def own_fields(kind: type[ServiceSettings]) -> dict[str, FieldInfo]:
    inherited = frozenset(ServiceSettings.model_fields) if kind is not ServiceSettings else frozenset[str]()
    return {name: field for name, field in kind.model_fields.items() if name not in inherited}


def texts(kind: type[ServiceSettings]) -> dict[str, str]:
    """Return the text below each field of a class."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = str(ast.literal_eval(text.value))
    return found


def variables(name: str, field: FieldInfo) -> str:
    """Return the environment variable of a field, and the other names that it has."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        names = [str(each) for each in alias.choices if each != name]
    else:
        names = [f"FNBUS_{name.upper()}"]
    return ", ".join(f"`{each}`" for each in names)


def default(field: FieldInfo) -> str:
    value = field.get_default()
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value in (None, "", ()):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def table(kind: type[ServiceSettings]) -> str:
    said = texts(kind)
    rows = [f"| {variables(name, field)} | {default(field)} | {said[name]} |" for name, field in own_fields(kind).items()]
    return "\n".join(["| variable | default | what it is |", "|---|---|---|", *rows])


def section(title: str) -> re.Pattern[str]:
    """Match the table of a section."""
    return re.compile(rf"(?<=^## {title}\n\n)\|.*?(?=\n\n)", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("title", SECTIONS)
def test_page_has_the_settings_of_the_class(title: str) -> None:
    found = section(title).search(PAGE.read_text())
    assert found, f"docs/settings.md has no table below ## {title}"
    assert found[0] == table(SECTIONS[title]), "write it anew: python -m tests.architecture.test_settings_page"


def write() -> None:
    """Write the page's tables anew."""
    text = PAGE.read_text()
    for title, kind in SECTIONS.items():
        made = table(kind)
        text = section(title).sub(lambda _, made=made: made, text)
    PAGE.write_text(text)


if __name__ == "__main__":
    write()
