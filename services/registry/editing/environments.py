"""What becomes of a function's environment values when the API changes them. Pure."""

from collections.abc import Mapping
from typing import cast

from libs import errors
from libs.messages.functions import EnvEntry
from services.registry.editing.jsons import Fields
from services.registry.source.environment import EnvValue, parse_entry

HIDDEN = "<hidden>"
"""What is shown instead of a secret value, and keeps it when it is written back."""


def changed(before: Fields, update: Fields) -> Fields:
    """Return a file of environment values with a change made; every entry that is named has the long form then.

    Raises:
        errors.PermanentError: an entry does not fit; the text does not show its value.
    """
    after = dict(before)
    for name, entry in update.items():
        fields = cast("Fields", entry) if isinstance(entry, dict) else {"value": entry}
        if "value" not in fields:
            raise errors.PermanentError("env entry objects must include value")
        if fields["value"] is None:
            after.pop(name, None)
            continue
        if fields["value"] == HIDDEN:
            known = parse_entry(name, before.get(name))
            if not isinstance(known, EnvValue):
                raise errors.PermanentError(f"{name}: there is no value to keep")
            fields = fields | {"value": known.text, "is_secret": fields.get("is_secret", known.is_secret)}
        parsed = parse_entry(name, fields)
        if not isinstance(parsed, EnvValue):
            raise errors.PermanentError(parsed if parsed.startswith("env ") else f"{name}: {parsed}")
        after[name] = {"value": fields["value"], "is_secret": parsed.is_secret}
    return after


def shown(values: Mapping[str, EnvValue]) -> tuple[EnvEntry, ...]:
    """Return environment values as they may be shown."""
    return tuple(
        EnvEntry(name=name, value="" if value.is_secret else value.text, is_secret=value.is_secret)
        for name, value in sorted(values.items())
    )
