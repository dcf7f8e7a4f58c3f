"""The guest: runs inside a Python worker with nothing but the standard library, and as little of that as will do.

Its modules import each other relatively, because a worker finds the package at the top of the path and tests find it
inside `services`. What costs milliseconds to import (`json`, `inspect`, `asyncio`, `traceback`) is imported when it is needed;
`typing` and `collections.abc` never: `TYPE_CHECKING = False` means to a type checker what it means there.
"""
