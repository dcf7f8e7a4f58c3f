"""Which file of a folder is its entry, and which folders are versions. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from libs import runtime_names
from services.registry.source.config import Config
from services.registry.source.patterns import RUNTIMES_BY_EXTENSION
from services.registry.source.tree import CONFIG, Folder

DEFAULT = "default"

_SCRIPTS = tuple(f"{stem}.{end}" for stem in ("handler", "index") for end in ("js", "ts", "mjs", "cjs", "mts", "cts"))
_CANONICAL = {
    "python": ("handler.py", "main.py"),
    "node": _SCRIPTS,
    "php": ("handler.php", "index.php"),
    "rust": ("handler.rs",),
    "deno": _SCRIPTS,
}
_LABEL = re.compile(r"[a-zA-Z0-9_.-]{1,100}")
_VERSION = re.compile(r"[vV]?\d.*")
_LOOSE_VERSION = re.compile(r"[vV].*|\d.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The file that a function starts with."""

    runtime: str
    path: str
    """Relative to its folder."""


def config_of(folder: Folder, configs: Mapping[str, Config]) -> Config:
    """Return the config that lies in a folder; an empty one when there is none."""
    if CONFIG not in folder.files:
        return _NONE
    return configs.get(folder.files[CONFIG].path, _NONE)


def find_entry(folder: Folder, config: Config, runtime: str = "") -> Entry | None:
    """Return a folder's entry: the config's `entrypoint`, else the first canonical file, of that runtime when one is given."""
    runtime = config.runtime or runtime
    if config.entrypoint is not None and folder.find(config.entrypoint) is not None:
        own = language(config.entrypoint, runtime)
        if own in runtime_names.known() and runtime in ("", own):
            return Entry(runtime=own, path=config.entrypoint)
    for each in (runtime,) if runtime else runtime_names.BUILT_IN:
        for name in _canonical(each, folder):
            if name in folder.files:
                return Entry(runtime=each, path=name)
    return None


def language(path: str, runtime: str) -> str:
    """Return the runtime that starts a source file, empty for none, where `runtime` rules (empty: nothing does).

    Deno starts what is otherwise Node's; a runtime that was plugged in starts whatever it is told to.
    """
    if runtime in runtime_names.plugged_in():
        return runtime
    own = RUNTIMES_BY_EXTENSION.get("." + path.rpartition(".")[2].lower(), "")
    return "deno" if (runtime, own) == ("deno", "node") else own


def canonical_entries(folder: Folder) -> dict[str, str]:
    """Return the canonical entry file of a folder for each runtime that has one there."""
    found: dict[str, str] = {}
    for runtime in ("python", "node", "php", "rust"):
        name = next((each for each in _CANONICAL[runtime] if each in folder.files), None)
        if name is not None:
            found[runtime] = name
    return found


def find_versions(
    folder: Folder, configs: Mapping[str, Config], *, runtime: str, has_default: bool, ignored: frozenset[str]
) -> dict[str, tuple[Folder, Entry]]:
    """Return the folders below a function's folder that are versions of it, by label.

    Beside a default, a folder named like a version (`v2`, `2.1`) counts, and another one only when it has a `handler` or
    a config of its own: `lib/index.js` is a library, not a version. Without a default only labels `v…` and digits count.
    """
    found: dict[str, tuple[Folder, Entry]] = {}
    for label, below in sorted(folder.folders.items()):
        if label in ignored or label == DEFAULT or label.startswith("_") or not _LABEL.fullmatch(label):
            continue
        entry = find_entry(below, config_of(below, configs), runtime)
        if entry is None or (runtime and entry.runtime != runtime):
            continue
        if has_default:
            counts = is_version_label(label) or CONFIG in below.files or entry.path.startswith("handler.")
        else:
            counts = _LOOSE_VERSION.fullmatch(label) is not None
        if counts:
            found[label] = (below, entry)
    return found


def is_version_label(label: str) -> bool:
    """Return whether a folder's name can only mean a version: `v2`, `2`, `v1.4-beta`."""
    return _VERSION.fullmatch(label) is not None and _LABEL.fullmatch(label) is not None


def is_entry_name(runtime: str, name: str) -> bool:
    """Return whether a file of that name is found as its folder's entry without being named in a config."""
    return name in _CANONICAL.get(runtime, ())


def _canonical(runtime: str, folder: Folder) -> tuple[str, ...]:
    if runtime in runtime_names.plugged_in():
        return tuple(sorted(name for name in folder.files if name.partition(".")[0] == "handler"))
    return _CANONICAL.get(runtime, ())


_NONE = Config()
