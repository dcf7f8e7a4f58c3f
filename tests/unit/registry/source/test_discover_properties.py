"""What holds for every functions folder, however it was made."""

import json
from collections import defaultdict
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.source.config import Config, Manifest, parse_config, parse_manifest
from services.registry.source.discover import discover
from services.registry.source.environment import parse_env
from services.registry.source.found import Discovery
from services.registry.source.listing import File, Listing
from services.registry.source.precedence import Claim, overlap, settle

PATIENT = settings(deadline=None)
"""How long an example takes says more about the machine than about the code."""

PARTS = (
    "a",
    "b",
    "users",
    "python",
    "node",
    "v2",
    "1",
    "[id]",
    "[...slug]",
    "[[...opt]]",
    "lib",
    "_own",
    "src",
    "console",
    "[",
    "é",
)
NAMES = (
    "handler.py", "main.py", "handler.js", "index.js", "index.ts", "get.x.py", "post.x.js", "x.js", "x.py", "[id].js",
    "[...s].py", "[[...o]].js", "get.post.x.js", "_h.py", "x.lua", "data.csv", "fn.env.json", "fn.config.json",
    "fn.routes.json", "get.py",
)  # fmt: skip
TEXTS: tuple[object, ...] = (
    {"runtime": "python"},
    {"runtime": "node", "name": "same"},
    {"name": "same"},
    {"entrypoint": "x.py"},
    {"timeout_ms": -1},
    {"invoke": {"routes": ["/users/:id", "/a"]}},
    {"invoke": {"routes": ["/a"], "force-url": True}},
    {"invoke": {"methods": ["POST"], "allow_hosts": ["a.org"]}},
    {"invoke": {"allow_hosts": ["*.a.org", "b.org"]}},
    {"schedule": {"every_seconds": 5, "file": "x.js"}},
    {"routes": {"GET /a": "x.js", "POST /users": "lib/x.py", "/x": "handler.py"}},
    [],
    "text",
    None,
)


def paths(parts: tuple[str, ...], names: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Return paths of a few of these parts and one of these names."""

    def join(above: list[str], name: str) -> str:
        return "/".join([*above, name])

    return st.builds(join, st.lists(st.sampled_from(parts), max_size=4), st.sampled_from(names))


folders = st.dictionaries(paths(PARTS, NAMES), st.sampled_from(TEXTS), max_size=25)
additions = paths(("c", "[q]"), ("get.new.py", "post.new.js", "[...rest].py"))


def parsed(files: Mapping[str, object]) -> tuple[dict[str, Config], dict[str, Manifest]]:
    texts = {path: json.dumps(text).encode() for path, text in files.items()}
    configs = {path: parse_config(path, text) for path, text in texts.items() if path.endswith("fn.config.json")}
    manifests = {path: parse_manifest(path, text) for path, text in texts.items() if path.endswith("fn.routes.json")}
    return configs, manifests


def discovered(files: Mapping[str, object], order: list[str] | None = None) -> Discovery:
    listing = Listing(files=tuple(File(path=path, size=1, mtime_ns=1) for path in order or files))
    return discover(listing, *parsed(files))


def winners(found: Discovery) -> set[str]:
    return {route.pattern for function in found.functions for route in function.routes}


@PATIENT
@given(files=folders, data=st.data())
def test_discovery_does_not_depend_on_the_order_of_the_listing(files: dict[str, object], data: st.DataObject) -> None:
    assert discovered(files, data.draw(st.permutations(list(files)))) == discovered(files)


@PATIENT
@given(files=folders)
def test_no_route_has_two_owners_and_a_conflict_has_none(files: dict[str, object]) -> None:
    found = discovered(files)
    taken: dict[tuple[str, str], list[tuple[str, ...]]] = defaultdict(list)
    for function in found.functions:
        for route in function.routes:
            assert route.methods
            assert route.version in {version.label for version in function.versions}
            for method in route.methods:
                assert not any(overlap(route.hosts, hosts) for hosts in taken[route.pattern, method])
                taken[route.pattern, method].append(route.hosts)
    assert winners(found).isdisjoint(found.conflicts)


@PATIENT
@given(files=folders)
def test_every_function_is_once_there_and_its_files_exist(files: dict[str, object]) -> None:
    found = discovered(files)
    keys = [(function.runtime, function.name) for function in found.functions]
    assert len(keys) == len(set(keys))
    for function in found.functions:
        assert function.versions
        for version in function.versions:
            assert set(version.files) <= files.keys()
            assert list(version.files) == sorted(set(version.files))
            entry = f"{version.root}/{version.entrypoint}" if version.root else version.entrypoint
            assert entry in version.files
            assert all(path.startswith(version.root) for path in version.files)
            assert not any(path.rpartition("/")[2].startswith("fn.") for path in version.files)


@PATIENT
@given(files=folders, added=additions)
def test_explicit_file_never_costs_a_route_of_another_pattern(files: dict[str, object], added: str) -> None:
    before = discovered(files)
    after = discovered({**files, added: None})
    new = {route.pattern for function in discovered({added: None}).functions for route in function.routes}
    assert winners(before) - new <= winners(after)


@PATIENT
@given(files=st.dictionaries(st.text(max_size=30), st.sampled_from(TEXTS), max_size=10))
def test_discovery_never_raises_for_any_names(files: dict[str, object]) -> None:
    assert discovered(files).namespace == "default"


scalars: st.SearchStrategy[object] = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10))
values: st.SearchStrategy[object] = st.one_of(
    scalars, st.lists(scalars, max_size=3), st.dictionaries(st.text(max_size=8), scalars, max_size=3)
)
FIELDS = (
    "runtime", "name", "entrypoint", "timeout_ms", "max_concurrency", "max_body_bytes", "invoke", "routes", "methods",
    "route", "schedule", "worker_pool", "zero_config", "response", "force-url", "handler", "adapter", "allow_hosts",
    "every_seconds", "cron", "timezone", "retry", "max_attempts", "jitter", "query", "body", "KEY", "TOKEN", "value",
    "is_secret",
)  # fmt: skip
sections: st.SearchStrategy[object] = st.dictionaries(st.sampled_from(FIELDS), values, max_size=6)
configs: st.SearchStrategy[object] = st.dictionaries(st.sampled_from(FIELDS), st.one_of(values, sections), max_size=8)


@settings(PATIENT, max_examples=300)
@given(value=st.one_of(configs, values))
def test_parsers_never_raise_for_any_json(value: object) -> None:
    data = json.dumps(value).encode("utf-8", "surrogatepass")
    parse_config("fn.config.json", data)
    parse_manifest("fn.routes.json", data)
    parse_env("fn.env.json", data)


@PATIENT
@given(data=st.binary(max_size=60))
def test_parsers_never_raise_for_any_bytes(data: bytes) -> None:
    parse_config("fn.config.json", data)
    parse_manifest("fn.routes.json", data)
    parse_env("fn.env.json", data)


claims = st.builds(
    Claim,
    pattern=st.sampled_from(("/a", "/b")),
    methods=st.sampled_from((("GET",), ("POST",), ("GET", "POST"))),
    hosts=st.sampled_from(((), ("a.org",), ("a.org", "b.org"), ("*.a.org",))),
    rank=st.sampled_from((1, 2, 3)),
    force_url=st.booleans(),
    owner=st.sampled_from((("python", "x", "x"), ("node", "y", "y"), ("php", "z", "z"))),
    path=st.sampled_from(("p", "q")),
)


@PATIENT
@given(rivals=st.lists(claims, max_size=7), data=st.data())
def test_settling_does_not_depend_on_the_order_of_the_claims(rivals: list[Claim], data: st.DataObject) -> None:
    assert settle(data.draw(st.permutations(rivals))) == settle(rivals)


@PATIENT
@given(rivals=st.lists(claims, max_size=7))
def test_strongest_claim_of_a_method_and_host_wins(rivals: list[Claim]) -> None:
    settled = settle(rivals)
    won = [(owner, route) for owner, route in settled.routes if route.pattern not in settled.conflicts]
    for claim in rivals:
        if claim.pattern in settled.conflicts:
            continue
        for method in claim.methods:
            stronger = [
                rival
                for rival in rivals
                if rival.pattern == claim.pattern and rival.strength > claim.strength and method in rival.methods
            ]
            if any(overlap(claim.hosts, rival.hosts) for rival in stronger):
                continue
            held = {
                host
                for owner, route in won
                if owner == claim.owner and route.pattern == claim.pattern and method in route.methods
                for host in route.hosts or ("",)
            }
            assert set(claim.hosts or ("",)) <= held
