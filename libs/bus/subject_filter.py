"""Which subjects a pattern with wildcards stands for (NATS): `*` is one token, a last `>` one or more."""


def matches(pattern: str, subject: str) -> bool:
    """Return whether the subject is one of the pattern's."""
    if pattern == subject:
        return True
    wanted = pattern.split(".")
    found = subject.split(".")
    if wanted[-1] == ">":
        return len(found) >= len(wanted) and _same(wanted[:-1], found)
    return len(found) == len(wanted) and _same(wanted, found)


def overlap(one: str, other: str) -> bool:
    """Return whether there is a subject that both patterns stand for."""
    left, right = one.split("."), other.split(".")
    for a, b in zip(left, right, strict=False):
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(left) == len(right)


def _same(wanted: list[str], found: list[str]) -> bool:
    return all(want in ("*", token) for want, token in zip(wanted, found, strict=False))
