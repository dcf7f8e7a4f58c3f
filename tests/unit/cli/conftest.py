"""What the command's tests share."""

from collections.abc import Iterator

import pytest

from tests.unit.cli.serving import FakeGateway, serving


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever the person who runs the tests keeps, or runs, is not for them."""
    place = tmp_path_factory.mktemp("nowhere")
    monkeypatch.setenv("FNBUS_CONFIG", str(place / "config" / "config.toml"))
    for name in ("FNBUS_URL", "FNBUS_TOKEN", "FNBUS_PROFILE", "FNBUS_ADMIN_TOKEN", "FN_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(place)


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """A gateway that answers what it is told to."""
    fake = FakeGateway()
    with serving(fake.take, fake.headers) as fake.url:
        yield fake
