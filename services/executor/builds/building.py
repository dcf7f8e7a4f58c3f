"""Builds and layers put together from their parts, for an executor that is being assembled."""

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from libs import settings
from libs.bus.port import Bus
from libs.lifecycle import Service
from libs.messages import subjects
from services.executor.builds import builds, toolbox, workshop
from services.executor.builds.build_run import Bounds
from services.executor.disk import layer_keys
from services.executor.disk.bundles import Bundles
from services.executor.disk.layers import Layers
from services.executor.runtimes.base import Runtime
from services.executor.settings import ExecutorSettings, uninstalled

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The executor that builds."""

    executor: str
    bus: Bus
    bundles: Bundles
    runtimes: Mapping[str, Runtime]
    isolation: str
    """Name of its sandbox."""
    state: Path
    settings: ExecutorSettings


async def start(service: Service, site: Site) -> Layers:
    """Take requests for builds as long as the service runs; return the layers that its workers get theirs from."""
    chosen = site.settings
    store = await site.bus.objects(subjects.LAYER_STORE)
    tools = toolbox.gather(settings.environment(), Path.home(), scripts=chosen.build_scripts, local=chosen.build_local)
    shop = workshop.Workshop(
        state=site.state / "builds",
        toolbox=tools,
        bounds=Bounds(seconds=chosen.build_seconds, max_mb=chosen.build_max_mb, memory_mb=chosen.build_memory_mb),
        bwrap=(shutil.which("bwrap") or "") if site.isolation == "bubblewrap" else "",
    )
    service.stack.callback(shop.close)
    await asyncio.to_thread(shop.clean)
    platform = layer_keys.this_platform()
    making = builds.Builds(
        builds.Parts(
            executor=site.executor,
            bus=site.bus,
            bundles=site.bundles,
            layers=store,
            runtimes=site.runtimes,
            workshop=shop,
            tasks=service.tasks,
            max_mb=chosen.build_max_mb,
            at_once=chosen.builds_at_once,
            secrets=tools.secrets,
            platform=platform,
            uninstalled=uninstalled(chosen),
            seconds={"rust": chosen.rust_build_timeout_s} if chosen.rust_build_timeout_s else {},
        )
    )
    service.stack.push_async_callback(making.stop)
    await making.start()
    return Layers(
        store=store,
        folder=site.state / "layers",
        tasks=service.tasks,
        platform=platform,
        max_bytes=2 * chosen.build_max_mb * _MIB,
    )
