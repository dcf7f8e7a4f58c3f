"""`edge` and `cors` in a config: what each field accepts, and how a wrong one is named."""

import json

import pytest

from libs.messages.web import Cors, Edge, Home
from services.registry.source.config import Config, parse_config
from services.registry.source.web import AssetsSaid


def parsed(**config: object) -> Config:
    return parse_config("fn.config.json", json.dumps(config).encode())


def refusals(**config: object) -> list[str]:
    return [problem.message for problem in parsed(**config).problems]


def test_an_edge_is_taken_over_as_it_is_written() -> None:
    said = {"base_url": "https://Api.example.com/v1/", "allow_hosts": ["A.example.com"], "allow_private": True}
    edge = Edge(base_url="https://Api.example.com/v1", allow_hosts=("a.example.com",), allow_private=True)
    assert parsed(edge=said).edge == edge
    assert parsed(edge={"max_response_bytes": 5}).edge == Edge(max_response_bytes=5)
    assert parsed(edge={}).edge == Edge()
    assert parsed().edge is None


@pytest.mark.parametrize(
    ("edge", "text"),
    [
        ({"base_url": ""}, "edge.base_url must be a non-empty string"),
        ({"base_url": "ftp://x"}, "edge.base_url must be an http or https URL without query"),
        ({"base_url": "http://x:99999"}, "edge.base_url must be an http or https URL without query"),
        ({"base_url": "http://a:b@x"}, "edge.base_url must be an http or https URL without query"),
        ({"max_response_bytes": 0}, "edge.max_response_bytes must be > 0"),
        ({"allow_hosts": ["a/b"]}, "edge.allow_hosts must be an array of host strings or null"),
        ({"allow_private": "yes"}, "edge.allow_private must be true or false"),
        ({"more": 1}, "edge.more is not a known field; it is ignored"),
    ],
)
def test_an_edge_field_is_named_when_it_is_wrong(edge: object, text: str) -> None:
    assert refusals(edge=edge) == [text]


def test_a_cors_policy_is_taken_over_as_it_is_written() -> None:
    said = {
        "allow_origins": ["https://App.example.com", "https://*.example.org"],
        "allow_methods": ["get", "PUT"],
        "allow_headers": "X-Token",
        "expose_headers": ["X-Total"],
        "allow_credentials": True,
        "max_age": 0,
    }
    assert parsed(cors=said).cors == Cors(
        allow_origins=("https://app.example.com", "https://*.example.org"),
        allow_methods=("GET", "PUT"),
        allow_headers=("X-Token",),
        expose_headers=("X-Total",),
        allow_credentials=True,
        max_age=0,
    )
    assert parsed(cors={"allow_origins": "*"}).cors == Cors(allow_origins=("*",))


@pytest.mark.parametrize(
    ("cors", "text"),
    [
        ({}, "cors.allow_origins is missing: no page of another origin may call"),
        ({"allow_origins": ["example.com"]}, "cors.allow_origins must be a list of origins (https://app.example.com) or *"),
        ({"allow_origins": ["https://a/b"]}, "cors.allow_origins must be a list of origins (https://app.example.com) or *"),
        ({"allow_origins": "*", "allow_headers": ["a b"]}, "cors.allow_headers must be a list of header names"),
        ({"allow_origins": "*", "max_age": -1}, "cors.max_age must be >= 0"),
        (
            {"allow_origins": "*", "allow_credentials": True},
            "cors.allow_credentials needs origins by name, for with * any page could act as its visitor",
        ),
    ],
)
def test_a_cors_field_is_named_when_it_is_wrong(cors: object, text: str) -> None:
    assert refusals(cors=cors) == [text]


def test_a_policy_is_the_folder_above_s_where_a_config_has_none() -> None:
    above = parsed(edge={"base_url": "https://a"}, cors={"allow_origins": "*"})
    below = parsed(edge={"base_url": "https://b"}).below(above)
    assert (below.edge, below.cors) == (Edge(base_url="https://b"), Cors(allow_origins=("*",)))


@pytest.mark.parametrize(
    ("home", "expected"),
    [
        ("/users", Home(path="", target="/users")),
        ({"route": "/users"}, Home(path="", target="/users")),
        ({"path": "start"}, Home(path="", target="./start")),
        ({"target": "./start"}, Home(path="", target="./start")),
        ({"home-route": "/a"}, Home(path="", target="/a")),
        ({"function": "users"}, Home(path="", target="users")),
        ({"redirect": "https://example.com/x"}, Home(path="", redirect="https://example.com/x")),
        ({"url": "/x"}, Home(path="", redirect="/x")),
        ({"location": "/x"}, Home(path="", redirect="/x")),
        ({"route": "/a", "redirect": "/b"}, Home(path="", target="/a")),
        ({}, None),
    ],
)
def test_a_home_is_understood_in_all_its_spellings(home: object, expected: Home | None) -> None:
    assert parsed(home=home).home == expected


@pytest.mark.parametrize(
    ("home", "text"),
    [
        ({"redirect": "javascript:alert(1)"}, "home.redirect must be an absolute path or an http or https URL"),
        ({"redirect": "/a\r\nb: c"}, "home.redirect must be an absolute path or an http or https URL"),
        ({"route": 5}, "home.route must be a non-empty string"),
        ({"more": 1}, "home.more is not a known field; it is ignored"),
        (5, "home must be an object"),
    ],
)
def test_a_home_field_is_named_when_it_is_wrong(home: object, text: str) -> None:
    assert refusals(home=home) == [text]


def test_assets_are_taken_over_as_they_are_written() -> None:
    said = {"directory": "./public/", "not_found_handling": "spa", "run_worker_first": True}
    assert parsed(assets=said).assets == AssetsSaid(directory="public", single_page=True, functions_first=True)
    assert parsed(assets={"directory": "public"}).assets == AssetsSaid(directory="public")
    assert parsed(assets={"directory": "a/b", "not_found_handling": "404"}).assets == AssetsSaid(directory="a/b")


@pytest.mark.parametrize(
    ("assets", "text"),
    [
        ({"directory": ".."}, "assets.directory must be a folder below this one"),
        ({"directory": "/etc"}, "assets.directory must be a folder below this one"),
        ({"directory": "."}, "assets.directory must be a folder below this one"),
        ({"directory": "p", "not_found_handling": "x"}, "assets.not_found_handling must be 404 or single-page-application"),
        ({"directory": "p", "run_worker_first": 1}, "assets.run_worker_first must be true or false"),
    ],
)
def test_an_assets_field_is_named_when_it_is_wrong(assets: object, text: str) -> None:
    assert refusals(assets=assets) == [text]
