"""The short ways of records: code written once for each class, to make one, to read and to write it.

What `dataclasses` does for `__init__` is done here for reading and writing: source text is made from the class's field names
and compiled. A reader looks at the types of all plain fields at once, and sets the slots itself, for a frozen class's own
`__init__` takes three times as long; and it does not keep account of where it is. Whatever is not exactly as it is written here
is left to `codec`, which knows what is wrong with it, and what is not.
"""

import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple, NewType

_PLAIN_TYPES = (str, bytes, int, float, bool)
_READ = """
def read(document):
    {names} = get(document)
    if version != own_version or ({types}type(version)) != expected:
        raise TypeError
    {conversions}
    made = new(cls)
    {setters}
    return made
"""
_INIT = "def __init__(self, *, {parameters}): {setters}"
_WRITE = "lambda record: {{{items}{version_field!r}: {version}}}"

type Convert = Callable[[Any], Any]
"""Returns what a value becomes; raises KeyError, TypeError or ValueError when it is not as it is written here."""


class Shortcut(NamedTuple):
    """How a class is read and written."""

    read: Convert
    """Returns the record that a map holds."""
    write: Callable[[Any], dict[str, Any]]
    """Returns the record's map, of what msgpack packs by itself."""


type Inner = Callable[[type[Any]], Shortcut]
"""Returns the shortcut of another class of records, to be asked when it is needed: a record may hold its own kind."""


def shortcut(cls: type[Any], hints: Mapping[str, Any], *, version: int, version_field: str, inner: Inner) -> Shortcut:
    """Return how to read and write records of a class.

    Args:
        cls: a dataclass with slots.
        hints: types of its fields, as `codec` allows them.
        version: of the class.
        version_field: the map's key for it.
        inner: for records in records.
    """
    names = [field.name for field in dataclasses.fields(cls)]
    exact = {name: hints[name] for name in names if hints[name] in _PLAIN_TYPES}
    readers = {name: _reader(hints[name], inner) for name in names if name not in exact}
    writers = {name: writer for name in names if (writer := _writer(hints[name], inner)) is not None}
    known: dict[str, Any] = {
        "get": itemgetter(*names, version_field),
        "own_version": version,
        "expected": (*exact.values(), type(version)),
        "new": object.__new__,
        "cls": cls,
        **{f"read_{name}": reader for name, reader in readers.items()},
        **{f"write_{name}": writer for name, writer in writers.items()},
        **{f"set_{name}": getattr(cls, name).__set__ for name in names},
    }
    source = _READ.format(
        names=", ".join([*(f"field_{name}" for name in names), "version"]),
        types="".join(f"type(field_{name}), " for name in exact),
        conversions="; ".join(f"field_{name} = read_{name}(field_{name})" for name in readers) or "pass",
        setters="; ".join(f"set_{name}(made, field_{name})" for name in names) or "pass",
    )
    exec(source, known)  # noqa: S102  the text holds names of fields only
    items = "".join(f"{name!r}: {f'write_{name}(record.{name})' if name in writers else f'record.{name}'}, " for name in names)
    write = eval(_WRITE.format(items=items, version_field=version_field, version=version), known)  # noqa: S307  as above
    return Shortcut(known["read"], write)


def _reader(hint: Any, inner: Inner) -> Convert:
    """Return what reads values of a type."""
    hint = _meant(hint)
    arguments = typing.get_args(hint)
    if hint is Any:
        return _as_it_is
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return _or_none(_reader(_other_than_none(arguments), inner))
    if typing.get_origin(hint) is tuple:
        return _read_items(_reader(arguments[0], inner))
    if typing.get_origin(hint) is dict:
        return _read_map(_reader(arguments[1], inner))
    kind = typing.cast("type[Any]", hint)
    if dataclasses.is_dataclass(kind):
        return lambda value: inner(kind).read(value)
    if issubclass(kind, enum.Enum):
        return {member.value: member for member in kind}.__getitem__
    return _read_exact(kind)


def _writer(hint: Any, inner: Inner) -> Convert | None:
    """Return what makes values of a type fit for msgpack; None when they are."""
    hint = _meant(hint)
    arguments = typing.get_args(hint)
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        item = _writer(_other_than_none(arguments), inner)
        return None if item is None else _or_none(item)
    if typing.get_origin(hint) is tuple:
        item = _writer(arguments[0], inner)
        return None if item is None else lambda value: [item(each) for each in value]
    if typing.get_origin(hint) is dict:
        item = _writer(arguments[1], inner)
        return None if item is None else lambda value: {key: item(each) for key, each in value.items()}
    if dataclasses.is_dataclass(hint):
        kind = typing.cast("type[Any]", hint)
        return lambda value: inner(kind).write(value)
    if isinstance(hint, type) and issubclass(hint, enum.Enum) and not issubclass(hint, str):
        return lambda value: value.value
    return None


def _meant(hint: Any) -> Any:
    """Return the type that a name stands for."""
    while isinstance(hint, NewType | typing.TypeAliasType):
        hint = hint.__supertype__ if isinstance(hint, NewType) else hint.__value__
    return hint


def _other_than_none(arguments: tuple[Any, ...]) -> Any:
    return next(each for each in arguments if each is not types.NoneType)


def _as_it_is(value: Any) -> Any:
    return value


def _or_none(item: Convert) -> Convert:
    return lambda value: None if value is None else item(value)


def _read_exact(kind: type[Any]) -> Convert:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError
        return value

    return read


def _read_items(item: Convert) -> Convert:
    def read(value: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise TypeError
        return tuple([item(each) for each in typing.cast("list[Any]", value)])

    return read


def _read_map(item: Convert) -> Convert:
    def read(value: Any) -> dict[str, Any]:
        found = typing.cast("dict[Any, Any]", value)
        if type(value) is not dict or not all(type(key) is str for key in found):
            raise TypeError
        return {key: item(each) for key, each in found.items()}

    return read


def constructor(cls: type[Any]) -> Callable[..., None] | None:
    """Return an `__init__` that does what that of a frozen dataclass does, in a fraction of its time.

    None when the class has no field, or one with a default that has to be made anew each time.

    Args:
        cls: a keyword-only dataclass with slots, and without a `__post_init__`.
    """
    fields = dataclasses.fields(cls)
    if not fields or any(field.default_factory is not dataclasses.MISSING for field in fields):
        return None
    known: dict[str, Any] = {f"set_{field.name}": getattr(cls, field.name).__set__ for field in fields}
    known |= {f"default_{field.name}": field.default for field in fields}
    required = {field.name for field in fields if field.default is dataclasses.MISSING}
    parameters = ", ".join(f.name if f.name in required else f"{f.name}=default_{f.name}" for f in fields)
    setters = "; ".join(f"set_{field.name}(self, {field.name})" for field in fields)
    exec(_INIT.format(parameters=parameters, setters=setters), known)  # noqa: S102  the text holds names of fields only
    return known["__init__"]
