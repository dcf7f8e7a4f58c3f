"""`fn.env.json`: a function's environment values, parsed (contract 2.6)."""

from collections.abc import Mapping
from dataclasses import dataclass

from libs.messages import catalog


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvValue:
    """One environment value as handlers see it."""

    text: str
    is_secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvFile:
    """The values of a file, and what is wrong with the rest of it."""

    values: Mapping[str, EnvValue]
    problems: tuple[catalog.Problem, ...] = ()
