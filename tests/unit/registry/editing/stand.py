"""A registry's editor on a folder, with store and bus in memory, and the means to be an editor beside it."""

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
from libs.messages.functions import Changed, ChangeFunction, ChangeKind, FunctionDetail, FunctionRef, GetFunction
from libs.secrets import KeyRing
from libs.storage.memory import MemoryStore
from services.registry.audit import Audit
from services.registry.catalog import Sealer
from services.registry.deployments import Deployments
from services.registry.editing.editor import Editor
from services.registry.editing.trees import Trees
from services.registry.functions import Functions
from services.registry.homes.port import Home
from services.registry.metrics import Metrics
from services.registry.projection import Projection
from services.registry.source.folder import FolderSource

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RING = KeyRing.parse(KeyRing.generate())
DEMO = FunctionRef(runtime="python", name="demo")


@dataclass(slots=True, kw_only=True)
class Registry:
    """What a test asks."""

    editor: Editor
    trees: Trees
    home: Home
    functions: Functions
    audit: Audit

    async def change(self, kind: ChangeKind, body: Any = b"", *, target: FunctionRef = DEMO, **more: Any) -> Changed:
        """Change a function; a body that is no bytes goes as JSON."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        return await self.editor.change(ChangeFunction(target=target, kind=kind, body=data, **more))

    async def detail(self, target: FunctionRef = DEMO) -> FunctionDetail:
        """Return everything about a function."""
        return await self.editor.function(GetFunction(target=target))


@asynccontextmanager
async def running(
    home: Home, *, store: MemoryStore | None = None, broker: MemoryBroker | None = None, sealer: Sealer = RING
) -> AsyncGenerator[Registry]:
    """Run a registry on a tree of files."""
    clock, metrics = ManualClock(NOON), Metrics()
    store = store or MemoryStore()
    functions, audit = Functions(store=store, clock=clock), Audit(store=store, clock=clock)
    source = FolderSource(home)
    deployments = Deployments(
        functions=functions,
        projection=Projection(bus=MemoryBus(broker or MemoryBroker()), bundles=functions.bundle, metrics=metrics),
        sealer=sealer,
        clock=clock,
        metrics=metrics,
        audit=audit,
        source=source,
        functions_root=Path(home.place) if home.place else None,
        retry_seconds=0.01,
    )
    editor = Editor(home=home, source=source, deployments=deployments, functions=functions, clock=clock)
    trees = Trees(home=home, source=source, deployments=deployments)
    task = asyncio.create_task(deployments.run())
    try:
        await deployments.sync(full=True)
        yield Registry(editor=editor, trees=trees, home=home, functions=functions, audit=audit)
    finally:
        task.cancel()
        await asyncio.wait([task])
