"""A registry's editor on either home of files, with store and bus in memory, and the means to be somebody else beside it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from libs.bus.memory import MemoryBroker, MemoryBus
from libs.clock import ManualClock
from libs.messages.functions import (
    MAX_CODE_BYTES,
    Changed,
    ChangeFunction,
    ChangeKind,
    FunctionDetail,
    FunctionRef,
    GetFunction,
)
from libs.secrets import KeyRing
from libs.storage.memory import MemoryStore
from services.registry.audit import Audit
from services.registry.deploys.deployments import Deployments
from services.registry.deploys.facts import Facts
from services.registry.deploys.projection import Projection
from services.registry.editing.editor import Editor
from services.registry.editing.trees import Trees
from services.registry.functions.catalog import Sealer
from services.registry.functions.store import Functions
from services.registry.homes.folder import FolderHome
from services.registry.homes.stored import StoredHome
from services.registry.metrics import Metrics
from services.registry.source.files import FileSource
from services.registry.source.home import Change, Home

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RING = KeyRing.parse(KeyRing.generate())
DEMO = FunctionRef(runtime="python", name="demo")


class Beside:
    """The same files as somebody else has them: an editor in a folder, another registry in a store."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def save(self, path: str, text: str) -> None:
        """Write a file."""
        async with self._home.exclusive():
            await self._home.write(Change(put={path: text.encode()}))

    async def paths(self) -> list[str]:
        """Return what is there."""
        await self._home.refresh()
        return [file.path for file in self._home.scan().files]

    async def text(self, path: str) -> str:
        """Return what is in a file."""
        await self._home.refresh()
        return (await self._home.fetch(path, limit=MAX_CODE_BYTES)).decode()


@dataclass(slots=True, kw_only=True)
class Registry:
    """What a test asks."""

    editor: Editor
    trees: Trees
    home: Home
    beside: Beside
    functions: Functions
    audit: Audit
    facts: Facts

    async def change(self, kind: ChangeKind, body: Any = b"", *, target: FunctionRef = DEMO, **more: Any) -> Changed:
        """Change a function; a body that is no bytes goes as JSON."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        return await self.editor.change(ChangeFunction(target=target, kind=kind, body=data, **more))

    def shown(self, path: str) -> str:
        """Return a path as people are shown it."""
        return f"{self.home.place}/{path}" if self.home.place else path

    async def detail(self, target: FunctionRef = DEMO) -> FunctionDetail:
        """Return everything about a function."""
        return await self.editor.function(GetFunction(target=target))


def stored(store: MemoryStore, *, sealer: Sealer = RING) -> StoredHome:
    """Return the files that a store holds, as one registry has them."""
    return StoredHome(store=store, sealer=sealer, clock=ManualClock(NOON), poll_seconds=0.01)


@asynccontextmanager
async def running_on(kind: str, folder: Path) -> AsyncGenerator[Registry]:
    """Run a registry on a folder, or on files in a store."""
    if kind == "folder":
        async with running(FolderHome(folder)) as made:
            yield made
    else:
        store = MemoryStore()
        async with running(stored(store), store=store, beside=stored(store)) as made:
            yield made


@asynccontextmanager
async def running(
    home: Home,
    *,
    store: MemoryStore | None = None,
    broker: MemoryBroker | None = None,
    sealer: Sealer = RING,
    beside: Home | None = None,
) -> AsyncGenerator[Registry]:
    """Run a registry on a tree of files, which somebody else has as `beside`."""
    clock, metrics = ManualClock(NOON), Metrics()
    store = store or MemoryStore()
    functions, audit = Functions(store=store, clock=clock), Audit(store=store, clock=clock)
    bus = MemoryBus(broker or MemoryBroker())
    facts = Facts(bus=bus, clock=clock)
    source = FileSource(home)
    deployments = Deployments(
        functions=functions,
        projection=Projection(bus=bus, bundles=functions.bundle, metrics=metrics),
        sealer=sealer,
        clock=clock,
        metrics=metrics,
        audit=audit,
        facts=facts,
        source=source,
        functions_root=Path(home.place) if home.place else None,
        retry_seconds=0.01,
    )
    editor = Editor(home=home, source=source, deployments=deployments, functions=functions, clock=clock)
    trees = Trees(home=home, source=source, deployments=deployments)
    task = asyncio.create_task(deployments.run())
    try:
        await deployments.sync(full=True)
        yield Registry(
            editor=editor,
            trees=trees,
            home=home,
            beside=Beside(beside or home),
            functions=functions,
            audit=audit,
            facts=facts,
        )
    finally:
        task.cancel()
        await asyncio.wait([task])
