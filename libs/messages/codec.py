"""Bytes to typed records and back: msgpack maps that carry a version.

A record is a frozen, keyword-only dataclass marked with `@record`. Decoding is the boundary parser of the bus: it
ignores fields it does not know, fills in defaults, and names the record, the field and the fault when something is
missing or of the wrong type. A field's type may be str, bytes, int, float, bool, datetime (aware), a string enum, another
record, `X | None`, `tuple[X, ...]`, `dict[str, X]`, `Any`, or a NewType of one of these.
"""

import dataclasses
import enum
import types
import typing
from collections.abc import Callable
from operator import attrgetter
from typing import Any, ClassVar, NewType, Protocol, dataclass_transform

import msgpack

from libs import errors
from libs.messages.shortcuts import Shortcut, constructor, shortcut

VERSION_FIELD = "v"

type _Parser = Callable[[Any, str], Any]


class MalformedMessageError(errors.PermanentError, ValueError):
    """Bytes from the bus are not the record they should be.

    Attributes:
        record: name of the expected record.
        where: path of the field at fault, empty for the message as a whole.
        fault: what is wrong with it.
    """

    def __init__(self, *, record: str, where: str, fault: str) -> None:
        super().__init__(f"{record}{'.' if where else ''}{where}: {fault}")
        self.record = record
        self.where = where
        self.fault = fault


class Record(Protocol):
    """What `@record` makes: a dataclass that knows its wire version."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    name: str
    parse: _Parser
    required: bool


@dataclasses.dataclass(frozen=True, slots=True)
class _Layout:
    version: int
    names: tuple[str, ...]
    values: Callable[[Any], Any]
    fields: tuple[_Field, ...]
    nested: bool
    shortcut: Shortcut


_layouts: dict[type[Any], _Layout] = {}
_versions: dict[type[Any], int] = {}
_packer = msgpack.Packer(datetime=True)
"""Shared by threads, since a packer is dear to make; it calls no Python code, so that no other thread gets between."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
def record[T](*, version: int = 1) -> Callable[[type[T]], type[T]]:
    """Turn a class into a frozen, keyword-only record that may cross the bus.

    Args:
        version: raised when a field changes meaning; a reader refuses versions above its own.
    """

    def decorate(cls: type[T]) -> type[T]:
        made = dataclasses.dataclass(frozen=True, kw_only=True, slots=True)(cls)
        made.__init__ = constructor(made) or made.__init__
        _versions[made] = version
        return made

    return decorate


def is_record(cls: object) -> bool:
    """Return whether `record` made this class."""
    return isinstance(cls, type) and cls in _versions


def encode(message: Record) -> bytes:
    """Return the record as one msgpack map with its version."""
    try:
        return _packer.pack(_layout(typing.cast("type[Any]", type(message))).shortcut.write(message))
    except (TypeError, AttributeError):
        # A value is not of its field's type: packed all the same, or refused.
        return msgpack.packb(_shallow(message), datetime=True, default=_inner)


def decode[T](cls: type[T], data: bytes | memoryview) -> T:
    """Return the record of class `cls` that `data` holds.

    Raises:
        MalformedMessageError: the bytes are not msgpack, not a map, of a newer version, or a field is missing or wrong.
    """
    try:
        document = msgpack.unpackb(data, timestamp=3)
    except (ValueError, OverflowError, msgpack.UnpackException, RecursionError) as error:
        raise MalformedMessageError(record=cls.__name__, where="", fault=f"not msgpack: {error}") from error
    try:
        return _layout(cls).shortcut.read(document)
    except (KeyError, TypeError, ValueError):
        return _from_map(cls, document, "")


def to_document(message: Record) -> dict[str, Any]:
    """Return the record as a plain map, as `encode` would pack it; for stores that keep maps."""
    return _to_map(message)


def from_document[T](cls: type[T], document: dict[str, Any]) -> T:
    """Return the record that a map from `to_document` holds.

    Raises:
        MalformedMessageError: a field is missing or wrong.
    """
    return _from_map(cls, document, "")


def _shallow(message: Any) -> dict[str, Any]:
    """Return the record's map with its values as they are: msgpack takes text enums and tuples itself."""
    layout = _layout(typing.cast("type[Any]", type(message)))
    document = dict(zip(layout.names, layout.values(message), strict=True))
    document[VERSION_FIELD] = layout.version
    return document


def _inner(value: Any) -> Any:
    """Return what msgpack can pack for a value that it cannot: a record inside a record, an enum that is no text."""
    if isinstance(value, enum.Enum):
        return value.value
    if type(value) in _versions:
        return _shallow(value)
    raise TypeError(f"a record cannot hold a {type(value).__name__}")


def _to_map(message: Any) -> dict[str, Any]:
    document = _shallow(message)
    if _layout(typing.cast("type[Any]", type(message))).nested:
        document = {name: _plain(value) for name, value in document.items()}
    return document


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in typing.cast("tuple[Any, ...]", value)]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in typing.cast("dict[str, Any]", value).items()}
    if type(value) in _versions:
        return _to_map(value)
    if isinstance(value, enum.Enum):
        return value.value
    return value


def _from_map[T](cls: type[T], document: Any, where: str) -> T:
    if not isinstance(document, dict):
        raise MalformedMessageError(record=cls.__name__, where=where, fault=f"expected a map, got {_kind(document)}")
    layout = _layout(cls)
    found = typing.cast("dict[str, Any]", document)
    version = found.get(VERSION_FIELD)
    if not isinstance(version, int) or version < 1 or version > layout.version:
        raise MalformedMessageError(
            record=cls.__name__, where=where, fault=f"version {version!r} is not one of 1 to {layout.version}"
        )
    values: dict[str, Any] = {}
    for field in layout.fields:
        if field.name in found:
            try:
                values[field.name] = field.parse(found[field.name], field.name)
            except MalformedMessageError:
                raise
            except (TypeError, ValueError) as error:
                raise MalformedMessageError(record=cls.__name__, where=field.name, fault=str(error)) from error
        elif field.required:
            raise MalformedMessageError(record=cls.__name__, where=field.name, fault="required field is missing")
    return cls(**values)


def _layout(cls: type[Any]) -> _Layout:
    layout = _layouts.get(cls)
    if layout is None:
        layout = _layouts[cls] = _make_layout(cls)
    return layout


def _make_layout(cls: type[Any]) -> _Layout:
    if cls not in _versions:
        raise TypeError(f"{cls.__name__} is not a record")
    hints = typing.get_type_hints(cls)
    fields: list[_Field] = []
    nested = False
    for field in dataclasses.fields(cls):
        parse, deep = _parser(hints[field.name])
        nested = nested or deep
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        fields.append(_Field(field.name, parse, required))
    names = tuple(field.name for field in fields)
    short = shortcut(cls, hints, version=_versions[cls], version_field=VERSION_FIELD, inner=lambda kind: _layout(kind).shortcut)
    return _Layout(_versions[cls], names, _values(names), tuple(fields), nested, short)


def _values(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what reads these attributes as a tuple; `attrgetter` does so for two and more only."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda message: tuple(getattr(message, name) for name in names)


def _parser(hint: Any) -> tuple[_Parser, bool]:
    """Return the parser for a type, and whether its values need more than msgpack to encode."""
    if isinstance(hint, NewType):
        return _parser(hint.__supertype__)
    if isinstance(hint, typing.TypeAliasType):
        return _parser(hint.__value__)
    if hint is Any:
        return _anything, False
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _optional(arguments)
    if origin is tuple:
        item, _ = _parser(arguments[0])
        return _sequence(item), True
    if origin is dict:
        item, deep = _parser(arguments[1])
        return _mapping(item), deep
    if isinstance(hint, type):
        kind = typing.cast("type[Any]", hint)
        if kind in _versions:
            return lambda value, where: _from_map(kind, value, where), True
        if issubclass(kind, enum.Enum):
            members = {member.value: member for member in kind}
            return lambda value, _: members[value] if type(value) is str and value in members else kind(value), True
        return _exact(kind), False
    raise TypeError(f"a record cannot have a field of type {hint}")


def _anything(value: Any, _where: str) -> Any:
    return value


def _exact(kind: type[Any]) -> _Parser:
    def parse(value: Any, _where: str) -> Any:
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        raise TypeError(f"expected {kind.__name__}, got {_kind(value)}")

    return parse


def _optional(arguments: tuple[Any, ...]) -> tuple[_Parser, bool]:
    kinds = [argument for argument in arguments if argument is not types.NoneType]
    if len(kinds) != 1 or len(arguments) == 1:
        raise TypeError(f"a record field may be one type or None, not {arguments}")
    item, deep = _parser(kinds[0])
    return (lambda value, where: None if value is None else item(value, where)), deep


def _sequence(item: _Parser) -> _Parser:
    def parse(value: Any, where: str) -> Any:
        if not isinstance(value, list):
            raise TypeError(f"expected a list, got {_kind(value)}")
        return tuple(item(entry, f"{where}[{at}]") for at, entry in enumerate(typing.cast("list[Any]", value)))

    return parse


def _mapping(item: _Parser) -> _Parser:
    def parse(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"expected a map, got {_kind(value)}")
        found = typing.cast("dict[Any, Any]", value)
        if not all(type(key) is str for key in found):
            raise TypeError("expected text keys")
        return {key: item(entry, f"{where}.{key}") for key, entry in found.items()}

    return parse


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
