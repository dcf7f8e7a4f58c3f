"""What may stand in a document, and how values compare: the same for every store.

The order is None, numbers, text, bytes, bool, datetime; a range compares values of one kind only, except that None is
below everything. It is the order of a MongoDB server, so that no adapter has to sort anything itself there.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from libs import errors
from libs.storage.port import Collection, Document, Where

type Key = tuple[int, Any]
"""A value as something that sorts: its kind, then the value among its kind."""

NONE, NUMBER, TEXT, BYTES, BOOL, MOMENT = range(6)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_INT_LIMIT = 2**63
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


class InvalidDocumentError(errors.PermanentError, ValueError):
    """A document holds what not every store can hold.

    Attributes:
        where: path of the value at fault.
    """

    def __init__(self, where: str, fault: str) -> None:
        super().__init__(f"{where or 'document'}: {fault}")
        self.where = where


def to_ms(moment: datetime) -> int:
    """Return an aware datetime as whole milliseconds since the Unix epoch; what is finer is cut off."""
    return (moment - _EPOCH) // _MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    """Return milliseconds since the Unix epoch as an aware datetime in UTC."""
    return _EPOCH + milliseconds * _MILLISECOND


def stored(collection: Collection, document: Document, *, revision: int) -> Document:
    """Return the document as it will be read back: a deep copy with its revision, times in UTC and whole milliseconds.

    Raises:
        InvalidDocumentError: it has no text `_id`, an indexed field is a list or a map, or a value is of a foreign type.
    """
    copy = _copy_map(document, "")
    if type(copy.get("_id")) is not str:
        raise InvalidDocumentError("_id", "must be text")
    copy["revision"] = revision
    deep = [field for field, value in copy.items() if type(value) is list or type(value) is dict]
    if deep:
        for field in indexed(collection):
            if field in deep:
                raise InvalidDocumentError(field, "an indexed field must be a single value")
    return copy


def indexed(collection: Collection) -> tuple[str, ...]:
    """Return the fields of all indexes, each once, in order of appearance."""
    return tuple(dict.fromkeys(field for index in collection.indexes for field in index.fields))


def check_collection(collection: Collection) -> None:
    """Refuse names that not every store can take.

    Raises:
        ValueError: the collection's name or an indexed field's is not a plain word.
    """
    for name in (collection.name, *indexed(collection)):
        if not _NAME.match(name):
            raise ValueError(f"{name!r} is not a name of letters, digits and underscores")


def check_query(collection: Collection, where: Sequence[Where], sort: str = "_id") -> None:
    """Refuse conditions and sorts that no index can serve.

    Raises:
        ValueError: a field is neither `_id` nor indexed, or the value is not a single one.
    """
    fields = ("_id", *indexed(collection))
    for condition in where:
        if condition.field not in fields:
            raise ValueError(f"{collection.name}.{condition.field} is not indexed")
        for value in operands(condition):
            order(value)
    if sort not in fields:
        raise ValueError(f"{collection.name}.{sort} is not indexed")


def operands(condition: Where) -> list[Any]:
    """Return what the condition compares with: the members of an `in`, else its one value."""
    if condition.op != "in":
        return [condition.value]
    if isinstance(condition.value, list | tuple | set | frozenset):
        return list(cast("Iterable[Any]", condition.value))
    raise ValueError(f"{condition.field}: 'in' takes a list of values")


def order(value: Any) -> Key:
    """Return the key by which a single value sorts.

    Raises:
        ValueError: it is not a single value, or a datetime without a time zone.
    """
    match value:
        case None:
            return NONE, 0
        case bool():
            return BOOL, value
        case int() | float():
            return NUMBER, value
        case str():
            return TEXT, value
        case bytes():
            return BYTES, (len(value), value)
        case datetime() if value.tzinfo is not None:
            return MOMENT, to_ms(value)
        case _:
            raise ValueError(f"{type(value).__name__} is not a value that an index can hold")


def meets(document: Mapping[str, Any], where: Sequence[Where]) -> bool:
    """Return whether the document meets all conditions."""
    return all(_meets(order(document.get(condition.field)), condition) for condition in where)


def _meets(found: Key, condition: Where) -> bool:
    if condition.op == "in":
        return found in [order(value) for value in operands(condition)]
    wanted = order(condition.value)
    if condition.op == "==":
        return found == wanted
    if NONE not in (found[0], wanted[0]) and found[0] != wanted[0]:
        return False
    match condition.op:
        case "<":
            return found < wanted
        case "<=":
            return found <= wanted
        case ">":
            return found > wanted
        case ">=":
            return found >= wanted


def _copy(value: Any, where: str) -> Any:  # noqa: C901  one case per kind of value reads best in one place
    kind = cast("type[Any]", type(value))
    if kind is bytes or kind is bool or value is None:
        return value
    if isinstance(value, str):
        return _copy_text(value, where)
    if kind is datetime and value.tzinfo is UTC:
        return value.replace(microsecond=value.microsecond // 1000 * 1000)
    if kind is int:
        if not -_INT_LIMIT <= value < _INT_LIMIT:
            raise InvalidDocumentError(where, "an integer must fit into 64 bits")
        return value
    if kind is float:
        if not math.isfinite(value):
            raise InvalidDocumentError(where, "a number must be finite")
        return value
    if kind is dict:
        return _copy_map(cast("dict[Any, Any]", value), where)
    if kind is list or kind is tuple:
        return [_copy(item, f"{where}[{at}]") for at, item in enumerate(cast("list[Any]", value))]
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidDocumentError(where, "a datetime must have a time zone")
        return from_ms(to_ms(value))
    raise InvalidDocumentError(where, f"{kind.__name__} is not a type that every store can hold")


def _copy_map(value: dict[Any, Any], where: str) -> dict[str, Any]:
    copy: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise InvalidDocumentError(where, f"a key must be text, not {type(key).__name__}")
        kind = cast("type[Any]", type(item))
        if not (kind is bytes or (kind is str and item.isascii())):  # most values are these, and need no copy
            item = _copy(item, f"{where}.{key}" if where else key)
        copy[key if type(key) is str and key.isascii() else _copy_text(key, where)] = item
    return copy


def _copy_text(text: str, where: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidDocumentError(where, "half a surrogate pair is no text") from None
    return str.__str__(text)  # an enumeration's member becomes plain text
