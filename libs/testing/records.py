"""Samples and strategies for everything that crosses the bus, made from the records' own types.

`python -m libs.testing.records FOLDER` writes the golden bytes of records that have none in that folder; with `--all`, of all
of them. Bytes that change mean that the wire format changed: older replicas read what newer ones write while a platform is
being updated, so that must be meant.
"""

import argparse
import dataclasses
import enum
import importlib
import pkgutil
import types
import typing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from libs import messages
from libs.bus import rpc
from libs.messages import codec

_MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
_INTEGERS = st.integers(-(2**63), 2**64 - 1)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_PLAIN = st.none() | st.booleans() | _INTEGERS | st.floats(allow_nan=False) | _TEXT | st.binary()
_ANYTHING = st.recursive(
    _PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3), max_leaves=8
)
_SCALARS: dict[Any, Any] = {
    str: _TEXT,
    bytes: st.binary(),
    int: _INTEGERS,
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    datetime: st.datetimes(timezones=st.just(UTC)),
    Any: _ANYTHING,
}


def record_classes() -> list[type[codec.Record]]:
    """Return every record class of the bus, sorted by name."""
    modules = [importlib.import_module(f"{messages.__name__}.{each.name}") for each in pkgutil.iter_modules(messages.__path__)]
    found = {
        value
        for module in (*modules, rpc)
        for value in vars(module).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and codec.is_record(value)
    }
    return sorted(found, key=lambda each: each.__name__)


def sample(cls: type[codec.Record]) -> codec.Record:
    """Return a record with every field set, the same each time."""
    hints = typing.get_type_hints(cls)
    values = {field.name: _sample(hints[field.name], field.name) for field in dataclasses.fields(cls)}
    return typing.cast("Any", cls)(**values)


def records(cls: type[codec.Record]) -> st.SearchStrategy[codec.Record]:
    """Return a strategy for all records of a class."""
    hints = typing.get_type_hints(cls)
    values = {field.name: _strategy(hints[field.name]) for field in dataclasses.fields(cls)}
    return st.builds(cls, **values)


def _sample(hint: Any, name: str) -> Any:
    inner = _inner(hint)
    if inner is not None:
        origin, item = inner
        value = _sample(item, name)
        return (value,) if origin is tuple else {name: value} if origin is dict else value
    if codec.is_record(hint):
        return sample(hint)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return list(hint)[-1]
    fixed: dict[Any, Any] = {
        str: f"{name} ü",
        bytes: name.encode() + b"\x00\xff",
        int: 1000 + len(name),
        float: 0.5 + len(name),
        bool: True,
        datetime: _MOMENT,
        Any: [None, True, -1, 2.5, "text", {"key": b"bytes"}],
    }
    return fixed[hint]


def _strategy(hint: Any) -> st.SearchStrategy[Any]:
    inner = _inner(hint)
    if inner is not None:
        origin, item = inner
        strategy = _strategy(item)
        if origin is tuple:
            return st.lists(strategy, max_size=3).map(tuple)
        return st.dictionaries(_TEXT, strategy, max_size=3) if origin is dict else st.none() | strategy
    if codec.is_record(hint):
        return records(hint)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return st.sampled_from(list(hint))
    return _SCALARS[hint]


def _inner(hint: Any) -> tuple[Any, Any] | None:
    """Return tuple, dict or None (for an optional value) and the type inside, or nothing for other types."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return tuple, arguments[0]
    if origin is dict:
        return dict, arguments[1]
    if origin in (typing.Union, types.UnionType):
        return None, next(each for each in arguments if each is not types.NoneType)
    return None


def write_golden(folder: Path, *, everything: bool) -> list[str]:
    """Write golden bytes; return the names of the records that were written."""
    written: list[str] = []
    for cls in record_classes():
        path = folder / f"{cls.__name__}.msgpack"
        if everything or not path.exists():
            path.write_bytes(codec.encode(sample(cls)))
            written.append(cls.__name__)
    return written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the golden bytes of records that have none.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="also of those that have")
    chosen = parser.parse_args()
    write_golden(chosen.folder, everything=chosen.all)
