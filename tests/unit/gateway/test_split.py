"""An alias leads to versions by weight; a label that nobody splits stays as it is."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from libs.messages.catalog import Alias, FunctionEntry, Share
from libs.testing.fakes import function_entry
from services.gateway.admission import Gates
from services.gateway.callee import Callee, bind
from services.gateway.routing.table import Table, Verdict
from services.gateway.split import Split, with_aliases

HELLO = function_entry("hello", labels=("default", "v2"))


def aliased(*aliases: Alias, function: FunctionEntry = HELLO) -> FunctionEntry:
    return replace(function, aliases=aliases)


def alias(name: str, **weights: int) -> Alias:
    return Alias(name=name, shares=tuple(Share(version=label, weight=weight) for label, weight in weights.items()))


def callees(function: FunctionEntry) -> dict[str, Callee]:
    gates = Gates()
    return {
        version.label: bind(function, version, gates.gate("key", function, version), max_body_bytes=1000)
        for version in function.runnable
    }


def led(function: FunctionEntry) -> Mapping[str, Callee]:
    return with_aliases(function, callees(function))


def picked(callee: Callee) -> str:
    return (callee.split.pick() if callee.split else callee).version.label


def table_of(function: FunctionEntry) -> Table[Callee]:
    table: Table[Callee] = Table()
    table.put("key", function, led(function))
    return table


@pytest.mark.parametrize(
    ("draw", "label"), [(0.0, "default"), (0.5, "default"), (0.899, "default"), (0.9, "v2"), (0.9999999, "v2")]
)
def test_split_gives_each_version_its_share(draw: float, label: str) -> None:
    both = callees(HELLO)

    split = Split([(both["default"], 90), (both["v2"], 10)], draw=lambda: draw)

    assert split.pick().version.label == label


def test_function_without_aliases_costs_nothing() -> None:
    plain = callees(HELLO)

    assert with_aliases(HELLO, plain) is plain
    assert all(callee.split is None for callee in plain.values())


def test_alias_of_one_version_needs_no_choice() -> None:
    stable = led(aliased(alias("stable", v2=100)))["stable"]

    assert (stable.split, stable.version.label) == (None, "v2")


def test_default_label_may_be_split_and_its_route_leads_there() -> None:
    table = table_of(aliased(alias("default", default=0, v2=5)))

    target = table.match("/hello", "GET", "").target

    assert target is not None
    assert (target.owner.version.label, picked(target.owner)) == ("default", "v2")


def test_alias_is_called_like_a_version() -> None:
    table = table_of(aliased(alias("canary", v2=1)))

    found = table.match("/hello@canary", "GET", "")

    assert found.target is not None
    assert picked(found.target.owner) == "v2"
    assert table.match("/hello@nobody", "GET", "").verdict is Verdict.NOT_FOUND


def test_share_whose_version_is_gone_counts_for_nothing() -> None:
    function = aliased(alias("canary", gone=90, v2=10))

    assert picked(led(function)["canary"]) == "v2"
    table = table_of(function)
    assert table.names.find("hello", version="canary") is not None


def test_alias_of_versions_that_are_all_gone_is_none() -> None:
    function = aliased(alias("canary", gone=90))

    assert "canary" not in led(function)
    assert table_of(function).match("/hello@canary", "GET", "").verdict is Verdict.NOT_FOUND


def test_table_lets_go_of_a_function_with_aliases() -> None:
    table = table_of(aliased(alias("canary", default=9, v2=1), alias("default", default=9, v2=1)))

    table.remove("key")

    assert table.match("/hello", "GET", "").verdict is Verdict.NOT_FOUND
    assert len(table) == 0


def test_function_is_found_by_name_whatever_its_versions() -> None:
    table = table_of(function_entry("only", labels=("v1",)))

    found = table.names.function("only")

    assert found is not None
    assert table.names.function("only", runtime="node") is None
