"""What a functions folder means: FastFN's rules, one by one, with its own examples."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from libs import runtime_names
from libs.messages.catalog import Policy, Problem
from libs.messages.web import Home
from services.registry.source.config import parse_config, parse_manifest
from services.registry.source.discover import Options, discover
from services.registry.source.found import Discovery, FoundFunction
from services.registry.source.listing import File, Listing

type Content = Mapping[str, object]

ALL = "GET,POST,PUT,PATCH,DELETE"


def found_in(*paths: str, options: Options | None = None) -> Discovery:
    """Discover a folder of these files."""
    return found_with(dict.fromkeys(paths), options=options)


def found_with(files: Mapping[str, Content | str | None], *, options: Options | None = None) -> Discovery:
    """Discover a folder of these files; configs and manifests with their JSON, or with a text that is none."""
    texts = {path: text.encode() if isinstance(text, str) else json.dumps(text).encode() for path, text in files.items()}
    return discover(
        Listing(files=tuple(File(path=path, size=10, mtime_ns=1) for path in files)),
        {path: parse_config(path, text) for path, text in texts.items() if path.endswith("fn.config.json")},
        {path: parse_manifest(path, text) for path, text in texts.items() if path.endswith("fn.routes.json")},
        options=options,
    )


def routes(found: Discovery) -> dict[str, str]:
    """Return `METHODS pattern` to `name`, or `name@version`."""
    return {
        f"{','.join(route.methods)} {route.pattern}": f.name if route.version == "default" else f"{f.name}@{route.version}"
        for f in found.functions
        for route in f.routes
    }


def function(found: Discovery, name: str) -> FoundFunction:
    return next(each for each in found.functions if each.name == name)


def messages(found: Discovery) -> list[str]:
    return [f"{problem.path}: {problem.message}" for problem in found.problems]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("get.hello.py", {"GET /hello"}),
        ("post.orders.js", {"POST /orders"}),
        ("PATCH.orders.ts", {"PATCH /orders"}),
        ("hello.py", {"GET /hello"}),
        ("hello.mjs", {"GET /hello"}),
        ("hello.cjs", {"GET /hello"}),
        ("hello.php", {"GET /hello"}),
        ("hello.rs", {"GET /hello"}),
        ("users/get.py", {"GET /users"}),
        ("users/delete.[id].py", {"DELETE /users/:id"}),
        ("get.users.[id].js", {"GET /users/:id"}),
        ("users/[ID].js", {"GET /users/:id"}),
        ("users/[user-id].js", {"GET /users/:user-id"}),
        ("[tenant]/things.py", {"GET /:tenant/things"}),
        ("blog/[...slug].py", {"GET /blog/:slug*"}),
        ("shop/[[...opt]].js", {"GET /shop", "GET /shop/:opt*"}),
        ("[[...opt]].js", {"GET /:opt*"}),
        ("My_Cool.Thing.js", {"GET /my-cool/thing"}),
        ("My Dir/v1.2/x.py", {"GET /my-dir/v1-2/x"}),
        ("users/index.js", {"GET /users"}),
        ("users/main.py", {"GET /users"}),
        ("my-func/handler.py", {"GET /my-func"}),
        ("my-func/post.handler.py", {"POST /my-func"}),
        ("a/b/c/d/e/f/x.py", {"GET /a/b/c/d/e/f/x"}),
        ("a/b/c/d/e/f/g/x.py", set[str]()),
        ("index.js", set[str]()),
        ("get.py", set[str]()),
        ("_helper.js", set[str]()),
        ("_shared/x.js", set[str]()),
        ("x.test.js", set[str]()),
        ("x.spec.ts", set[str]()),
        ("types.d.ts", set[str]()),
        ("readme.md", set[str]()),
        ("node_modules/x/index.js", set[str]()),
        ("vendor/x.php", set[str]()),
        ("src/x.rs", set[str]()),
        ("target/x.rs", set[str]()),
        ("get.post.x.js", set[str]()),
        ("console/x.py", set[str]()),
        ("hello.lua", set[str]()),
        ("[id.py", set[str]()),
        ("[.py].py", set[str]()),
        ("[[id]].py", set[str]()),
        ("node/get.x.js", {"GET /node/x"}),
        ("node/multi/get.alpha.js", {"GET /node/multi/alpha"}),
        ("php/get.profile.[id].php", {"GET /php/profile/:id"}),
        ("python/acme/orders/handler.py", {"GET /acme/orders", "GET /acme/orders/*"}),
        ("python/acme/billing/charge/main.py", {"GET /acme/billing/charge", "GET /acme/billing/charge/*"}),
        ("python/a/b/c/d/handler.py", {"GET /python/a/b/c/d"}),
        ("node/hello/handler.ts", {"GET /hello", "GET /hello/*"}),
        ("node/hello/index.js", {"GET /hello", "GET /hello/*"}),
        ("rust/hello/handler.rs", {"GET /hello", "GET /hello/*"}),
        ("node/hello/handler.py", {"GET /node/hello"}),
    ],
)
def test_file_is_mapped_by_its_name(path: str, expected: set[str]) -> None:
    assert set(routes(found_in(path))) == expected


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("get.post.x.js", "two methods"),
        ("hello.lua", "lua is not supported yet"),
        ("go/x/handler.go", "go is not supported yet"),
        ("console/x.py", "reserved"),
        ("index.js", "a file cannot have the route /"),
        ("[[id]].py", "is not [name]"),
        ("[[...a]]/[[...b]].py", "only one part"),
    ],
)
def test_file_that_is_not_mapped_is_a_problem(path: str, words: str) -> None:
    (problem,) = found_in(path).problems
    assert problem.path == path
    assert words in problem.message


def test_file_route_is_named_by_its_path() -> None:
    (found,) = found_in("users/[id].js").functions
    assert (found.runtime, found.name, found.file_route) == ("node", "users/[id].js", True)
    assert found.versions[0].entrypoint == "users/[id].js"


def test_siblings_of_a_canonical_entry_are_private_unless_explicit() -> None:
    found = found_in("users/index.js", "users/me.js", "users/[id].js", "users/post.create.js")
    assert routes(found) == {
        "GET /users": "users/index.js",
        "GET /users/:id": "users/[id].js",
        "POST /users/create": "users/post.create.js",
    }


def test_siblings_are_all_routes_without_a_canonical_entry() -> None:
    assert set(routes(found_in("users/me.js", "users/[id].js", "users/you.py"))) == {
        "GET /users/me",
        "GET /users/:id",
        "GET /users/you",
    }


def test_two_canonical_entries_make_all_siblings_routes_and_the_folder_ambiguous() -> None:
    found = found_in("users/index.js", "users/handler.py", "users/me.js")
    assert found.conflicts == ("/users",)
    assert routes(found) == {"GET /users/me": "users/me.js"}


def test_entry_in_the_root_leaves_its_siblings_public() -> None:
    assert routes(found_in("index.js", "hello.js")) == {"GET /hello": "hello.js"}


def test_file_methods_come_from_the_overlay_without_a_prefix() -> None:
    found = found_with({"fn.config.json": {"invoke": {"methods": ["POST", "get"]}}, "a/hello.py": None, "a/put.x.py": None})
    assert set(routes(found)) == {"GET,POST /a/hello", "PUT /a/x"}
    assert function(found, "a/hello.py").versions[0].policy.methods == ("GET", "POST")


def test_overlay_is_inherited_from_root_to_leaf_field_by_field() -> None:
    found = found_with({
        "fn.config.json": {"timeout_ms": 100, "max_concurrency": 3},
        "a/fn.config.json": {"timeout_ms": 200, "invoke": {"allow_hosts": ["A.example.com"]}},
        "a/b/x.py": None,
        "y.py": None,
        "python/f/handler.py": None,
    })  # fmt: skip
    inner = function(found, "a/b/x.py")
    assert (inner.versions[0].policy.timeout_ms, inner.versions[0].policy.max_concurrency) == (200, 3)
    assert inner.routes[0].hosts == ("a.example.com",)
    assert function(found, "y.py").versions[0].policy.timeout_ms == 100
    assert function(found, "f").versions[0].policy.max_concurrency == 3


def test_folder_whose_config_names_nothing_is_plain_file_routing() -> None:
    found = found_with({"my-func/handler.py": None, "my-func/fn.config.json": {"timeout_ms": 1200}})
    assert routes(found) == {"GET /my-func": "my-func/handler.py"}
    assert function(found, "my-func/handler.py").versions[0].policy.timeout_ms == 1200


@pytest.mark.parametrize(
    ("config", "name", "expected"),
    [
        ({"runtime": "python"}, "alice/demo", {"GET /alice/demo", "GET /alice/demo/*"}),
        ({"name": "other"}, "other", {"GET /other", "GET /other/*"}),
        ({"entrypoint": "code/app.py"}, "alice/demo", {"GET /alice/demo", "GET /alice/demo/*"}),
        ({"invoke": {"routes": ["/x", "/y/{id}"]}}, "alice/demo", {f"{ALL} /x", f"{ALL} /y/:id"}),
        ({"invoke": {"route": "/x//y/", "methods": ["PUT"]}}, "alice/demo", {"PUT /x/y"}),
        ({"invoke": {"routes": ["/api/v1/*"]}}, "alice/demo", {f"{ALL} /api/v1/*"}),
        ({"name": "other", "methods": ["POST"]}, "other", {"POST /other", "POST /other/*"}),
        ({"runtime": "python", "invoke": {"routes": []}}, "alice/demo", {"GET /alice/demo", "GET /alice/demo/*"}),
        ({"runtime": "php", "invoke": {"routes": ["/", "x"]}}, "", set[str]()),
    ],
)  # fmt: skip
def test_folder_anywhere_is_a_function_when_its_config_says_so(config: Content, name: str, expected: set[str]) -> None:
    found = found_with({"alice/demo/handler.py": None, "alice/demo/code/app.py": None, "alice/demo/fn.config.json": config})
    assert set(routes(found)) == expected
    assert [(each.name, each.file_route) for each in found.functions] == ([(name, False)] if name else [])


def test_reserved_routes_are_problems_that_name_the_field() -> None:
    bad = ["/_fn/x", "/", "relative", "/a/../b", "/console", "/console/x"]
    found = found_with({"d/handler.py": None, "d/fn.config.json": {"runtime": "python", "invoke": {"routes": [*bad, "/ok"]}}})
    assert set(routes(found)) == {f"{ALL} /ok"}
    text = "d/fn.config.json: invoke.routes must contain valid URL paths (absolute, non-reserved): "
    assert len(found.problems) == len(bad)
    assert all(message.startswith(text) for message in messages(found))


def test_config_without_an_entry_mints_nothing_and_stops_file_routing() -> None:
    found = found_with({"d/fn.config.json": {"runtime": "python", "name": "d"}, "d/get.x.py": None, "d/e/y.py": None})
    assert found.functions == ()
    assert messages(found) == ["d: names a function in fn.config.json but has no entry file"]


def test_config_in_the_root_never_stops_routing() -> None:
    found = found_with({"fn.config.json": {"name": "my-project", "runtime": "node"}, "hello.py": None})
    assert routes(found) == {"GET /hello": "hello.py"}


def test_missing_entrypoint_is_a_problem_and_the_canonical_entry_serves() -> None:
    found = found_with({"d/fn.config.json": {"runtime": "python", "entrypoint": "app.py"}, "d/main.py": None})
    assert set(routes(found)) == {"GET /d", "GET /d/*"}
    assert "entrypoint app.py" in messages(found)[0]


def test_explicit_files_beside_a_handler_are_routes_too() -> None:
    found = found_in("node/users/handler.js", "node/users/get.[id].js", "node/users/helper.js", "node/users/lib/x.js")
    assert routes(found) == {
        "GET /users": "users",
        "GET /users/*": "users",
        "GET /users/:id": "node/users/get.[id].js",
    }
    extra = function(found, "node/users/get.[id].js").versions[0]
    assert (extra.root, extra.entrypoint) == ("node/users", "get.[id].js")
    assert "node/users/lib/x.js" in extra.files


def test_single_entry_folder_in_a_runtime_root_is_not_mapped_twice() -> None:
    found = found_in("node/multi/get.alpha.js", "node/single/handler.js")
    assert set(routes(found)) == {"GET /node/multi/alpha", "GET /single", "GET /single/*"}


def test_ignored_folders_are_those_of_config_and_options_too() -> None:
    files: dict[str, Content | None] = {
        "fn.config.json": {"zero_config": {"ignore_dirs": ["docs"]}},
        "docs/a.py": None,
        "tools/b.py": None,
        "c.py": None,
    }
    assert routes(found_with(files, options=Options(ignore_dirs=("tools",)))) == {"GET /c": "c.py"}


@pytest.mark.parametrize("depth", [1, 2])
def test_namespace_depth_limits_the_names_of_function_directories(depth: int) -> None:
    found = found_in("python/a/b/handler.py", options=Options(namespace_depth=depth))
    assert [each.name for each in found.functions] == (["a/b"] if depth == 2 else ["python/a/b/handler.py"])


def test_versions_lie_below_their_function() -> None:
    (found,) = found_in(
        "node/hello/handler.js", "node/hello/v2/handler.js", "node/hello/v2/x.js", "node/hello/lib/index.js"
    ).functions
    assert [version.label for version in found.versions] == ["default", "v2"]
    default, v2 = found.versions
    assert default.files == ("node/hello/handler.js", "node/hello/lib/index.js")
    assert (v2.root, v2.entrypoint, v2.files) == (
        "node/hello/v2",
        "handler.js",
        ("node/hello/v2/handler.js", "node/hello/v2/x.js"),
    )


def test_function_may_have_versions_only() -> None:
    (found,) = found_in("node/hello/v2/index.js", "node/hello/3/index.js").functions
    assert [version.label for version in found.versions] == ["3", "v2"]
    assert found.routes == ()


def test_folder_that_is_no_version_label_is_a_namespace_without_a_default() -> None:
    found = found_in("python/acme/orders/handler.py", "python/acme/v1/handler.py")
    assert [each.name for each in found.functions] == ["acme", "acme/orders"]


def test_version_has_its_own_config_over_that_of_its_function() -> None:
    found = found_with({
        "node/f/handler.js": None,
        "node/f/fn.config.json": {"timeout_ms": 100, "max_concurrency": 2},
        "node/f/v2/handler.js": None,
        "node/f/v2/fn.config.json": {"timeout_ms": 200, "invoke": {"routes": ["/next"], "force-url": True}},
    })  # fmt: skip
    v2 = function(found, "f").versions[1]
    assert (v2.policy.timeout_ms, v2.policy.max_concurrency) == (200, 2)
    assert routes(found)["GET,POST,PUT,PATCH,DELETE /next"] == "f@v2"
    assert not any(route.force_url for route in function(found, "f").routes)


def test_versions_of_a_plain_folder_keep_their_file_routes() -> None:
    found = found_in("hello/handler.py", "hello/v2/handler.py", "hello/v2/get.[id].py")
    assert routes(found) == {"GET /hello": "hello", "GET /hello/v2": "hello@v2", "GET /hello/v2/:id": "hello/v2/get.[id].py"}
    assert [version.label for version in function(found, "hello").versions] == ["default", "v2"]


def test_manifest_adds_routes_to_files_wherever_they_lie() -> None:
    found = found_with({
        "shop/fn.routes.json": {"routes": {"GET /x": "h/list.js", "/y": "f.js", "POST,PUT /w": "f.js"}},
        "shop/h/list.js": None,
        "shop/f.js": None,
    })  # fmt: skip
    assert routes(found) == {
        "GET /x": "shop/h/list.js",
        "GET /shop/h/list": "shop/h/list.js",
        "GET /y": "shop/f.js",
        "POST,PUT /w": "shop/f.js",
        "GET /shop/f": "shop/f.js",
    }
    assert {route.rank for route in function(found, "shop/f.js").routes} == {1, 2}


def test_manifest_wins_over_a_file_on_the_same_route() -> None:
    found = found_with({"fn.routes.json": {"routes": {"GET /a": "_b.js"}}, "a.js": None, "_b.js": None, "c.js": None})
    assert routes(found) == {"GET /a": "_b.js", "GET /c": "c.js"}


@pytest.mark.parametrize("target", ["missing.js", "../x.js", "/etc/passwd", "readme.md", 5])
def test_manifest_with_a_target_that_is_no_file_below_it_is_a_problem(target: object) -> None:
    found = found_with({"fn.routes.json": {"routes": {"GET /a": target}}, "readme.md": None})
    assert found.functions == ()
    assert found.problems[0].path == "fn.routes.json"


def test_two_owners_of_equal_rank_lose_the_route_for_every_method() -> None:
    found = found_in("get.hello.py", "get.hello.js", "post.hello.js", "other.js")
    assert found.conflicts == ("/hello",)
    assert routes(found) == {"GET /other": "other.js"}
    assert len(found.functions) == 4
    assert any("409" in message for message in messages(found))


def test_files_with_different_methods_share_a_route() -> None:
    assert routes(found_in("get.hello.py", "post.hello.js")) == {"GET /hello": "get.hello.py", "POST /hello": "post.hello.js"}


def test_function_of_one_name_in_two_runtimes_has_no_default_route() -> None:
    found = found_in("python/hello/handler.py", "node/hello/handler.js")
    assert found.conflicts == ("/hello", "/hello/*")
    assert [(each.runtime, each.routes) for each in found.functions] == [("node", ()), ("python", ())]


@pytest.mark.parametrize("force", ["no", "invoke", "top", "everywhere"])
def test_config_overrides_a_file_only_with_force_url(force: str) -> None:
    config: Content = {"runtime": "node", "invoke": {"routes": ["/hello"], "methods": ["GET", "POST"]}}
    if force == "invoke":
        config = {"runtime": "node", "invoke": {"routes": ["/hello"], "methods": ["GET", "POST"], "force-url": True}}
    elif force == "top":
        config = {**config, "forceUrl": True}
    found = found_with(
        {"get.hello.py": None, "d/handler.js": None, "d/fn.config.json": config},
        options=Options(force_url=force == "everywhere"),
    )
    if force == "no":
        assert routes(found) == {"GET /hello": "get.hello.py", "POST /hello": "d"}
    else:
        assert routes(found) == {"GET,POST /hello": "d"}
        assert any("/hello belongs to d" in message for message in messages(found))


def test_owners_on_different_hosts_share_a_route() -> None:
    found = found_with({
        "a/handler.js": None, "a/fn.config.json": {"invoke": {"routes": ["/x"], "allow_hosts": ["a.example.com"]}},
        "b/handler.js": None, "b/fn.config.json": {"invoke": {"routes": ["/x"], "allow_hosts": ["b.example.com"]}},
    })  # fmt: skip
    assert found.conflicts == ()
    assert {each.name: each.routes[0].hosts for each in found.functions} == {"a": ("a.example.com",), "b": ("b.example.com",)}


@pytest.mark.parametrize("hosts", [["*.example.com"], None])
def test_wildcard_or_no_host_overlaps_with_every_other(hosts: object) -> None:
    found = found_with({
        "a/handler.js": None, "a/fn.config.json": {"invoke": {"routes": ["/x"], "allow_hosts": ["a.other.org"]}},
        "b/handler.js": None, "b/fn.config.json": {"invoke": {"routes": ["/x"], "allow_hosts": hosts}},
    })  # fmt: skip
    assert found.conflicts == ("/x",)


def test_weaker_claim_keeps_the_hosts_that_are_left() -> None:
    found = found_with({
        "f/fn.config.json": {"invoke": {"allow_hosts": ["a.org"]}}, "f/x.js": None,
        "b/handler.js": None,
        "b/fn.config.json": {"invoke": {"routes": ["/f/x"], "methods": ["GET", "PUT"], "allow_hosts": ["a.org", "b.org"]}},
    })  # fmt: skip
    assert {(route.methods, route.hosts) for route in function(found, "b").routes} == {
        (("GET",), ("b.org",)),
        (("PUT",), ("a.org", "b.org")),
    }


def test_two_folders_with_one_name_conflict_and_the_second_is_left_out() -> None:
    found = found_with({
        "a/handler.py": None, "a/fn.config.json": {"name": "same"},
        "b/handler.py": None, "b/fn.config.json": {"name": "same"},
    })  # fmt: skip
    assert [each.name for each in found.functions] == ["same"]
    assert found.conflicts == ("/same", "/same/*")
    assert "b: is left out: the python function same exists elsewhere too" in messages(found)


def test_folder_bundle_holds_everything_but_the_platforms_files() -> None:
    found = found_in(
        "node/f/handler.js", "node/f/node_modules/x/index.js", "node/f/package.json", "node/f/data/a.csv",
        "node/f/fn.config.json", "node/f/fn.env.json", "node/f/fn.test_events.json", "node/other.txt",
    )  # fmt: skip
    version = function(found, "f").versions[0]
    assert version.files == ("node/f/data/a.csv", "node/f/handler.js", "node/f/node_modules/x/index.js", "node/f/package.json")
    assert version.env_path == "node/f/fn.env.json"


def test_file_bundle_holds_what_the_file_may_import() -> None:
    found = found_in(
        "a/b/x.py", "a/b/y.py", "a/b/data.csv", "a/b/_own.py", "a/b/requirements.txt", "a/b/fn.env.json", "a/b/sub/z.py",
        "a/_mid/deep/m.py", "a/sibling.txt", "_root.py", "_lib/r.py", "other/_no.py",
    )  # fmt: skip
    version = function(found, "a/b/x.py").versions[0]
    assert version.root == ""
    assert version.env_path == "a/b/fn.env.json"
    assert version.files == (
        "_lib/r.py", "_root.py", "a/_mid/deep/m.py", "a/b/_own.py", "a/b/data.csv", "a/b/requirements.txt", "a/b/x.py",
    )  # fmt: skip


def test_entry_bundle_holds_private_siblings_and_the_folders_below() -> None:
    found = found_in("f/handler.py", "f/helper.py", "f/get.[id].py", "f/lib/util.py")
    assert function(found, "f/handler.py").versions[0].files == ("f/handler.py", "f/helper.py", "f/lib/util.py")


def test_bundle_that_is_too_large_is_a_problem_and_no_function() -> None:
    many = [f"node/f/{at}.txt" for at in range(2001)]
    found = found_in("node/f/handler.js", *many, "ok.js")
    assert routes(found) == {"GET /ok": "ok.js"}
    assert "more than 2000" in messages(found)[0]


def test_bundle_with_too_many_bytes_is_a_problem_and_no_function() -> None:
    files = (File(path="node/f/handler.js", size=1, mtime_ns=1), File(path="node/f/big.bin", size=33 * 1024 * 1024, mtime_ns=1))
    found = discover(Listing(files=files), {}, {})
    assert found.functions == ()
    assert "bytes" in found.problems[0].message


def test_handler_and_adapter_come_from_the_config() -> None:
    found = found_with({"f/x.py": None, "f/fn.config.json": {"invoke": {"handler": "run", "adapter": "lambda"}}})
    version = found.functions[0].versions[0]
    assert (version.handler, version.handler_style) == ("run", "aws-lambda")


def test_schedule_belongs_to_a_folders_one_function() -> None:
    files: dict[str, Content | None] = {
        "tick/handler.py": None, "tick/fn.config.json": {"schedule": {"every_seconds": 5}},
        "solo/get.x.py": None, "solo/fn.config.json": {"schedule": {"cron": "@daily"}},
        "python/f/handler.py": None, "python/f/fn.config.json": {"schedule": {"cron": "*/5 * * * *"}},
        "node/g/handler.js": None, "node/g/v2/handler.js": None, "node/g/v2/fn.config.json": {"schedule": {"every_seconds": 7}},
        "sub/below/x.py": None,
    }  # fmt: skip
    found = found_with(files)
    due = {
        (each.name, version.label): version.schedule.cron or version.schedule.every_seconds
        for each in found.functions
        for version in each.versions
        if version.schedule is not None
    }
    assert due == {
        ("tick/handler.py", "default"): 5,
        ("solo/get.x.py", "default"): "@daily",
        ("f", "default"): "*/5 * * * *",
        ("g", "v2"): 7,
    }
    assert found.problems == ()


@pytest.mark.parametrize("name", ["get.b.py", "_private.py"])
def test_schedule_names_the_file_that_fires_among_several(name: str) -> None:
    schedule: Content = {"schedule": {"every_seconds": 5, "file": name}}
    found = found_with({"get.a.py": None, "get.b.py": None, "_private.py": None, "fn.config.json": schedule})
    assert [each.name for each in found.functions if each.versions[0].schedule] == [name]


def test_schedule_for_several_files_is_a_problem_that_says_how_to_name_one() -> None:
    found = found_with({"get.a.py": None, "get.b.py": None, "fn.config.json": {"schedule": {"every_seconds": 5}}})
    assert messages(found) == [
        "fn.config.json: schedule: name the file that fires in schedule.file: one of get.a.py, get.b.py",
    ]


def test_config_that_is_not_json_is_named_and_the_function_lives() -> None:
    found = found_with({"d/handler.py": None, "d/fn.config.json": "{nonsense"})
    assert routes(found) == {"GET /d": "d/handler.py"}
    assert found.problems[0].path == "d/fn.config.json"
    assert "is not JSON" in found.problems[0].message


def test_problems_of_the_listing_are_kept() -> None:
    problem = Problem(path="x", message="cannot be read")
    assert discover(Listing(files=(), problems=(problem,)), {}, {}).problems == (problem,)


@pytest.mark.parametrize(
    ("files", "runtime", "name", "expected"),
    [
        ({"get.x.rs": None}, "rust", "get.x.rs", {"GET /x"}),
        ({"get.x.php": None}, "php", "get.x.php", {"GET /x"}),
        ({"deno/get.x.ts": None}, "deno", "deno/get.x.ts", {"GET /deno/x"}),
        ({"deno/a/b/get.x.js": None}, "deno", "deno/a/b/get.x.js", {"GET /deno/a/b/x"}),
        ({"deno/x/handler.ts": None}, "deno", "x", {"GET /x", "GET /x/*"}),
        ({"x/handler.ts": None, "x/fn.config.json": {"runtime": "deno"}}, "deno", "x", {"GET /x", "GET /x/*"}),
        (
            {"x/api.ts": None, "x/fn.config.json": {"runtime": "deno", "entrypoint": "api.ts"}},
            "deno",
            "x",
            {"GET /x", "GET /x/*"},
        ),
    ],
)
def test_language_follows_from_the_file_or_from_the_folder_it_lies_in(
    files: Mapping[str, Content | str | None], runtime: str, name: str, expected: set[str]
) -> None:
    found = found_with(files)
    assert function(found, name).runtime == runtime
    assert set(routes(found)) == expected
    assert not messages(found)


def test_files_beside_a_deno_function_are_denos_too() -> None:
    found = found_with({"deno/x/handler.ts": None, "deno/x/post.more.ts": None})
    assert {each.runtime for each in found.functions} == {"deno"}


def test_limits_permissions_and_style_reach_the_version() -> None:
    found = found_with(
        {
            "fn.config.json": {"permissions": {"network": False}},
            "x/handler.py": None,
            "x/fn.config.json": {"runtime": "python", "memory_mb": 256, "keep_warm": {"enabled": True}},
        }
    )
    (version,) = function(found, "x").versions
    assert version.limits.memory_mb == 256
    assert not version.permissions.network
    assert version.policy.keep_warm.enabled
    assert version.handler_style == "auto"


def test_runtime_that_another_distribution_brings_is_known_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brought = tmp_path / "toy-1.0.dist-info"
    brought.mkdir()
    (brought / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (brought / "entry_points.txt").write_text("[fnbus.runtimes]\nshell = toy:ShellRuntime\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    runtime_names.plugged_in.cache_clear()
    try:
        found = found_with(
            {
                "shell/x/handler.sh": None,
                "y/run.sh": None,
                "y/fn.config.json": {"runtime": "shell", "entrypoint": "run.sh"},
            }
        )
    finally:
        monkeypatch.undo()
        runtime_names.plugged_in.cache_clear()
    assert [(each.runtime, each.name) for each in found.functions] == [("shell", "x"), ("shell", "y")]


def test_functions_of_languages_that_are_not_served_are_problems() -> None:
    found = found_in("get.a.py", "get.b.php", "node/n/handler.js", "python/p/handler.py", options=Options(runtimes=("python",)))
    assert [each.name for each in found.functions] == ["get.a.py", "p"]
    assert messages(found) == [
        "get.b.php: is not served: FNBUS_RUNTIMES does not name php",
        "node/n: is not served: FNBUS_RUNTIMES does not name node",
    ]


def test_what_no_config_says_is_as_the_platform_says() -> None:
    defaults = Policy(timeout_ms=9000, max_concurrency=3, max_body_bytes=77)
    config: Content = {"max_concurrency": 5}
    found = found_with({"get.a.py": None, "b/fn.config.json": config, "b/get.b.py": None}, options=Options(defaults=defaults))
    policies = [each.versions[0].policy for each in found.functions]
    assert [(each.timeout_ms, each.max_concurrency, each.max_body_bytes) for each in policies] == [(9000, 5, 77), (9000, 3, 77)]


def test_static_files_are_no_routes_and_are_found() -> None:
    found = found_with(
        {
            "fn.config.json": {"assets": {"directory": "public"}},
            "public/a/app.js": None,
            "public/index.html": None,
            "get.x.py": None,
        }
    )
    assert routes(found) == {"GET /x": "get.x.py"}
    assert found.assets is not None
    assert found.assets.paths == ("public/a/app.js", "public/index.html")


def test_a_folder_of_static_files_that_is_missing_is_told() -> None:
    found = found_with({"fn.config.json": {"assets": {"directory": "public"}}})
    assert (found.assets, messages(found)) == (
        None,
        ["fn.config.json: assets.directory: there is no folder public with files"],
    )


def test_homes_are_at_the_urls_of_their_folders() -> None:
    found = found_with(
        {
            "fn.config.json": {"home": {"function": "start"}},
            "My_Portal/fn.config.json": {"home": {"route": "first/page"}},
            "other/fn.config.json": {"home": "/x/"},
            "gone/fn.config.json": {"home": {"redirect": "https://example.com"}},
        }
    )
    assert found.homes == (
        Home(path="/", target="start"),
        Home(path="/gone", redirect="https://example.com"),
        Home(path="/my-portal", target="/my-portal/first/page"),
        Home(path="/other", target="/x"),
    )
