from collections.abc import Callable
from typing import Any

class UnpackException(Exception): ...  # noqa: N818

def packb(o: Any, *, datetime: bool = ..., use_bin_type: bool = ..., default: Callable[[Any], Any] | None = ...) -> bytes: ...
def unpackb(packed: bytes | memoryview, *, timestamp: int = ..., raw: bool = ..., strict_map_key: bool = ...) -> Any: ...
