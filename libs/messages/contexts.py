"""What sealed values are bound to: the same words where they are sealed and where they are opened."""

from libs.messages.catalog import FunctionEntry, VersionEntry


def of_secret(*, namespace: str, key: str) -> str:
    """Return what a secret is sealed for."""
    return f"secret:{namespace}/{key}"


def of_env(*, namespace: str, runtime: str, name: str, label: str) -> str:
    """Return what the environment of a function's version is sealed for."""
    return f"env:{namespace}/{runtime}/{name}@{label}"


def of_file(path: str) -> str:
    """Return what a file of environment values is sealed for, where the registry's store keeps the files."""
    return f"file:{path}"


def of_version(entry: FunctionEntry, version: VersionEntry) -> str:
    """Return what the environment of a version is sealed for as it stands: under its label, or one that it had before."""
    label = version.sealed_for or version.label
    return of_env(namespace=entry.namespace, runtime=entry.runtime, name=entry.name, label=label)
