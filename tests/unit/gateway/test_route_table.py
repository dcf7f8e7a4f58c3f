"""The route table against a naive reference, and its rules one by one."""

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.messages.catalog import FunctionEntry
from libs.testing.fakes import function_entry
from services.gateway.routing import patterns
from services.gateway.routing.patterns import Kind, Segment
from services.gateway.routing.table import METHODS, Table, Verdict

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

SEGMENTS = st.sampled_from(["a", "b", "c", ":x", ":y", ":r*", "*"])
PATTERNS = st.lists(SEGMENTS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
FUNCTIONS = st.lists(st.tuples(PATTERNS, st.sets(st.sampled_from(METHODS), min_size=1, max_size=2)), max_size=12)
PATHS = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))


def _naive_params(segments: Sequence[Segment], parts: Sequence[str]) -> list[str] | None:
    if not segments:
        return None if parts else []
    first, rest = segments[0], segments[1:]
    lengths = range(1, len(parts) + 1) if first.kind is Kind.MANY else range(1, min(1, len(parts)) + 1)
    for length in lengths:
        taken = "/".join(parts[:length])
        if first.kind is Kind.LITERAL and taken != first.text:
            continue
        below = _naive_params(rest, parts[length:])
        if below is not None:
            return below if first.kind is Kind.LITERAL else [taken, *below]
    return None


def _naive(
    functions: Sequence[FunctionEntry], conflicts: set[str], path: str, method: str
) -> tuple[Verdict, str, dict[str, str]]:
    owned = {
        route.pattern: [f for f in functions if f.routes[0].pattern == route.pattern] for f in functions for route in f.routes
    }
    allowed = False
    texts = sorted({*owned, *conflicts}, key=lambda text: (not patterns.parse(text).literal, patterns.parse(text).order))
    for text in texts:
        pattern = patterns.parse(text)
        values = _naive_params(pattern.segments, path.split("/")[1:])
        if values is None:
            continue
        if text in conflicts:
            return Verdict.CONFLICT, "", {}
        for function in owned[text]:
            allowed = True
            if method in function.routes[0].methods:
                return Verdict.FOUND, function.name, dict(zip(pattern.names, values, strict=True))
    return (Verdict.WRONG_METHOD if allowed else Verdict.NOT_FOUND), "", {}


def _table(functions: Sequence[FunctionEntry]) -> Table[FunctionEntry]:
    table: Table[FunctionEntry] = Table()
    for function in functions:
        table.put(function.name, function, {version.label: function for version in function.versions})
    return table


@PATIENT
@given(
    wanted=FUNCTIONS,
    removed=st.sets(st.integers(0, 11)),
    conflicts=st.sets(PATTERNS, max_size=2),
    path=PATHS,
    method=st.sampled_from(METHODS),
)
def test_match_equals_a_naive_matcher_after_changes(
    wanted: list[tuple[str, set[str]]], removed: set[int], conflicts: set[str], path: str, method: str
) -> None:
    functions = [
        function_entry(f"f{at}", pattern, methods=tuple(sorted(methods))) for at, (pattern, methods) in enumerate(wanted)
    ]
    table = _table(functions)
    table.set_conflicts({"/:gone/*"})
    for at in removed:
        table.remove(f"f{at}")
    table.set_conflicts(conflicts)
    left = [function for at, function in enumerate(functions) if at not in removed]
    verdict, name, params = _naive(left, conflicts, path, method)
    match = table.match(path, method, "localhost")
    assert match.verdict is verdict
    if verdict is Verdict.FOUND:
        assert match.target is not None
        assert (match.target.owner.name, match.params) == (name, params)


@PATIENT
@given(wanted=FUNCTIONS)
def test_table_is_empty_after_everything_was_removed(wanted: list[tuple[str, set[str]]]) -> None:
    table = _table([function_entry(f"f{at}", pattern) for at, (pattern, _) in enumerate(wanted)])
    table.set_conflicts(["/a/:b", "/z"])
    table.set_conflicts([])
    for at in range(len(wanted)):
        table.remove(f"f{at}")
    assert (len(table), len(table.names)) == (0, 0)
    assert table.match("/a/b", "GET", "").verdict is Verdict.NOT_FOUND


def test_match_looks_at_one_leaf_among_thousands() -> None:
    table = _table([function_entry(f"f{at}", f"/f{at}/:id") for at in range(3000)])
    match = table.match("/f77/x", "GET", "")
    assert match.target is not None
    assert match.target.owner.name == "f77"
    assert match.params == {"id": "x"}


def test_match_prefers_the_exact_path_then_literals_then_short_reaches() -> None:
    names = {"/a/b": "exact", "/a/:x": "one", "/:x/b": "other", "/a/:r*": "many", "/*": "all"}
    table = _table([function_entry(name, pattern) for pattern, name in names.items()])

    def found(path: str) -> str:
        target = table.match(path, "GET", "").target
        assert target is not None
        return target.owner.name

    assert [found(path) for path in ("/a/b", "/a/c", "/z/b", "/a/b/c", "/z")] == ["exact", "one", "other", "many", "all"]


def test_match_falls_through_to_a_pattern_that_takes_the_method() -> None:
    table = _table([function_entry("me", "/users/me"), function_entry("user", "/users/:id", methods=("PUT",))])
    match = table.match("/users/me", "PUT", "")
    assert match.target is not None
    assert match.target.owner.name == "user"
    assert table.match("/users/me", "DELETE", "").allow == ("GET", "PUT")


def test_match_tells_options_what_is_allowed() -> None:
    table = _table([function_entry("x", "/x", methods=("GET", "POST"))])
    match = table.match("/x", "OPTIONS", "")
    assert (match.verdict, match.allow) == (Verdict.OPTIONS, ("GET", "POST", "HEAD", "OPTIONS"))


def test_match_keeps_a_route_to_its_hosts() -> None:
    table = _table(
        [function_entry("one", "/x", hosts=("a.test", "*.b.test")), function_entry("rest", "/x", methods=("POST",))],
    )
    assert table.match("/x", "GET", "a.test").verdict is Verdict.FOUND
    assert table.match("/x", "GET", "www.b.test").verdict is Verdict.FOUND
    assert table.match("/x", "GET", "b.test").verdict is Verdict.WRONG_METHOD
    assert table.match("/x", "POST", "b.test").verdict is Verdict.FOUND


def test_pinned_version_is_found_when_no_route_matches() -> None:
    table = _table([function_entry("hello", labels=("default", "v2"), methods=("POST",))])
    assert table.match("/hello@v2", "POST", "").verdict is Verdict.FOUND
    assert table.match("/hello@v2", "GET", "").allow == ("POST",)
    assert table.match("/hello@v3", "POST", "").verdict is Verdict.NOT_FOUND


def test_pinned_version_is_kept_to_the_hosts_of_its_function() -> None:
    table = _table([function_entry("hello", hosts=("a.test",), labels=("default", "v2"))])
    assert table.match("/hello@v2", "GET", "a.test").verdict is Verdict.FOUND
    assert table.match("/hello@v2", "GET", "b.test").verdict is Verdict.WRONG_HOST


def test_bare_name_means_the_first_runtime_that_has_the_version() -> None:
    table: Table[str] = Table()
    table.put("n", function_entry("x", runtime="node", labels=("default", "v2")), {"default": "node", "v2": "node2"})
    table.put("p", function_entry("x", runtime="python"), {"default": "python"})
    first, second = table.names.find("x"), table.names.find("x", version="v2")
    assert first is not None
    assert second is not None
    assert (first.owner, second.owner) == ("python", "node2")


def test_bare_name_means_the_runtime_that_comes_first_in_the_order_that_is_told() -> None:
    table: Table[str] = Table(("php", "node"))
    for key, runtime in (("p", "python"), ("n", "node"), ("h", "php")):
        table.put(key, function_entry("x", runtime=runtime), {"default": runtime})
    found = [table.names.find("x")]
    table.remove("h")
    found.append(table.names.find("x"))
    table.remove("n")
    found.append(table.names.find("x"))
    assert [each and each.owner for each in found] == ["php", "node", "python"]
