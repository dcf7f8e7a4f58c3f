"""What is printed when everything is up."""

import re
from typing import Any

from cli.banner import ROUTES_SHOWN, Welcome, render


def _text(
    catalog: dict[str, Any], *, missing: list[tuple[str, str]] | None = None, isolation: str = "bubblewrap", weakness: str = ""
) -> str:
    facts = Welcome(
        address="http://127.0.0.1:8080",
        catalog=catalog,
        present=[("python", "3.13.0"), ("node", "24.1.0")],
        missing=missing or [],
        isolation=isolation,
        weakness=weakness,
    )
    return re.sub(r"\x1b\[[0-9;]*m", "", render(facts, functions="examples/functions", state=".fnbus", seconds=1.234))


def _route(name: str, runtime: str = "python", *methods: str) -> list[dict[str, Any]]:
    return [{"runtime": runtime, "fn_name": name, "methods": list(methods or ("GET",)), "source_rank": 1, "force_url": False}]


def test_banner_tells_address_routes_runtimes_isolation_and_state() -> None:
    text = _text({"mapped_routes": {"/hello": _route("get.hello.py"), "/orders": _route("orders.js", "node", "GET", "POST")}})
    assert "http://127.0.0.1:8080" in text
    assert re.search(r"GET +/hello +-> get\.hello\.py \(python\)", text)
    assert re.search(r"GET,POST +/orders +-> orders\.js \(node\)", text)
    assert "python 3.13.0, node 24.1.0" in text
    assert re.search(r"isolation +bubblewrap", text)
    assert re.search(r"state +\.fnbus", text)


def test_banner_shows_the_first_routes_and_counts_the_rest() -> None:
    text = _text({"mapped_routes": {f"/r{number:03}": _route(f"r{number}.py") for number in range(ROUTES_SHOWN + 5)}})
    assert "/r019" in text
    assert "/r020" not in text
    assert "… and 5 more (25 in all)" in text


def test_banner_says_how_to_begin_when_there_are_no_routes() -> None:
    assert "no routes yet" in _text({"mapped_routes": {}})


def test_banner_says_how_to_get_a_missing_runtime_and_why_isolation_is_weak() -> None:
    text = _text({}, missing=[("php", "apt install php-cli")], isolation="process", weakness="bubblewrap is not installed")
    assert "php is missing: apt install php-cli" in text
    assert "bubblewrap is not installed" in text


def test_banner_tells_problems_and_conflicts() -> None:
    text = _text(
        {
            "mapped_routes": {},
            "mapped_route_conflicts": {"/hello": True},
            "problems": [{"path": "a/fn.config.json", "message": "is not JSON"}],
        }
    )
    assert "a/fn.config.json: is not JSON" in text
    assert "/hello has more than one owner" in text


def test_banner_says_so_when_the_control_plane_is_closed_to_it() -> None:
    assert "routes cannot be listed from here: forbidden" in _text({"error": "forbidden"})
