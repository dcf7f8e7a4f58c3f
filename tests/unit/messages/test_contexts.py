"""What values are sealed for never changes: what is sealed already would not open any more."""

from dataclasses import replace

from libs.messages import contexts
from libs.messages.catalog import FunctionEntry, Policy, VersionEntry

VERSION = VersionEntry(label="v2", digest="d", bundle="b", entrypoint="handler.py", policy=Policy())
ENTRY = FunctionEntry(namespace="n", runtime="python", name="a/b", revision=1, source="folder", versions=(VERSION,))


def test_contexts_are_what_they_have_always_been() -> None:
    assert contexts.of_secret(namespace="n", key="KEY") == "secret:n/KEY"
    assert contexts.of_env(namespace="n", runtime="python", name="a/b", label="v2") == "env:n/python/a/b@v2"
    assert contexts.of_version(ENTRY, VERSION) == "env:n/python/a/b@v2"
    assert contexts.of_version(ENTRY, replace(VERSION, sealed_for="default")) == "env:n/python/a/b@default"
