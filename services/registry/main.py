"""Builds the registry: the only place that chooses its adapters."""

import asyncio
import contextlib
import logging
from datetime import timedelta
from functools import partial

from libs import errors, lifecycle, processes, settings
from libs.bus import jetstream, port, rpc
from libs.clock import Clock, SystemClock
from libs.lifecycle import Service
from libs.messages.figures import FiguresGet
from libs.messages.logs import TailLog
from libs.secrets import KeyRing
from libs.storage.port import Store
from libs.telemetry import ops
from services.registry.audit import AUDIT, Audit
from services.registry.deploys.assets import AssetStore
from services.registry.deploys.building import Building
from services.registry.deploys.dependencies import Dependencies
from services.registry.deploys.deployments import Deployments
from services.registry.deploys.facts import Facts
from services.registry.deploys.layers import Layers, Spared
from services.registry.deploys.manifests import Manifests
from services.registry.deploys.projection import Projection
from services.registry.deploys.pruning import Pruning
from services.registry.editing.editor import Editor
from services.registry.editing.trees import Trees
from services.registry.functions.releases import Releases
from services.registry.functions.store import Functions
from services.registry.history.figures import FigureKeeper
from services.registry.history.handlers import Handlers
from services.registry.history.intake import EXECUTIONS, History
from services.registry.history.retention import Retention
from services.registry.history.tail import Tail
from services.registry.homes.folder import FolderHome
from services.registry.homes.stored import StoredHome
from services.registry.metrics import Metrics
from services.registry.migrations.runner import Migrations
from services.registry.readiness import Readiness
from services.registry.rotation import Rotation
from services.registry.secrets.sealing import Sealer
from services.registry.secrets.vault import Vault
from services.registry.settings import RegistrySettings, defaults, infers, pace
from services.registry.source.files import FileSource, Options
from services.registry.source.home import API, Home

log = logging.getLogger(__name__)

_MIB = 1024 * 1024
_RETRY_SECONDS = 2.0
_BRING_OUT_SECONDS = 2.0
"""How long the answer to a change of a secret waits for the functions that have it."""


def main() -> int:
    """Run the registry until it is told to stop; return the exit code."""
    chosen = settings.load(RegistrySettings)
    return lifecycle.run("registry", chosen, partial(build, chosen, _sealer(chosen)))


async def build(chosen: RegistrySettings, sealer: Sealer, service: Service) -> None:
    """Connect, start everything, and push every undo on the service's stack."""
    metrics, readiness = Metrics(), Readiness()
    app = ops.OpsApp(service="registry", readiness=readiness.missing, metrics=metrics.collector)
    await ops.serve(service, app, host=chosen.ops_host, port=chosen.ops_port)
    bus = await jetstream.connect(
        url=chosen.nats_url, user=chosen.nats_user, password=chosen.nats_password.get_secret_value(), name="registry"
    )
    service.stack.push_async_callback(bus.close)
    store = await _store(chosen)
    service.stack.push_async_callback(store.close)
    await _migrate(store)
    await start(service, bus=bus, store=store, sealer=sealer, chosen=chosen, metrics=metrics, readiness=readiness)


async def start(
    service: Service,
    *,
    bus: port.Bus,
    store: Store,
    sealer: Sealer,
    chosen: RegistrySettings,
    metrics: Metrics,
    readiness: Readiness,
) -> None:
    """Start the parts on a bus and a store that are there; nothing of it needs either to answer now."""
    clock = SystemClock()
    functions = Functions(store=store, clock=clock)
    audit = Audit(store=store, clock=clock)
    home = _home(chosen, store=store, sealer=sealer, clock=clock)
    source = FileSource(home, _options(chosen))

    async def bring_out() -> None:
        """Project what a secret changes before its change is answered; what takes longer comes with the next round."""
        with contextlib.suppress(TimeoutError, errors.FnbusError):
            async with asyncio.timeout(_BRING_OUT_SECONDS):
                await deployments.sync(look=False)

    vault = Vault(store=store, sealer=sealer, clock=clock, audit=audit, on_change=bring_out)
    facts = Facts(bus=bus, clock=clock)
    projection = Projection(bus=bus, bundles=functions.bundle, metrics=metrics)
    deployments = Deployments(
        functions=functions,
        projection=projection,
        sealer=sealer,
        clock=clock,
        metrics=metrics,
        audit=audit,
        facts=facts,
        vault=vault,
        source=source,
        assets=AssetStore(bus),
        building=Building(dependencies=Dependencies(bus=bus), projection=projection, strict=chosen.auto_infer_strict),
        manifests=Manifests(home) if chosen.auto_infer_write_manifest else None,
        functions_root=chosen.functions_root,
        defaults=defaults(chosen),
        hot_reload=chosen.hot_reload or home.origin == API,  # what the API writes is never to be waited for
        reconcile_seconds=chosen.reconcile_seconds,
    )

    def on_state(connected: bool) -> None:  # noqa: FBT001  the port's own shape
        if connected:
            deployments.bus_is_back()

    bus.on_state(on_state)
    readiness.watch(bus=bus, store=store, deployments=deployments)
    figures = FigureKeeper(store=store, clock=clock)
    history = History(bus=bus, store=store, clock=clock, metrics=metrics, replica=processes.replica_name(), figures=figures)
    history_retention = Retention(
        store=store,
        clock=clock,
        collection=EXECUTIONS,
        moment="started_at",
        keep=timedelta(hours=chosen.history_hours),
        limit=chosen.history_max,
        removed=metrics.history_removed,
        owner=("namespace", "function"),
        share=chosen.history_per_function,
    )
    audit_retention = Retention(
        store=store,
        clock=clock,
        collection=AUDIT,
        moment="at",
        keep=timedelta(days=chosen.audit_days),
        limit=chosen.audit_max,
        removed=metrics.audit_removed,
    )
    pruning = Pruning(bus=bus, store=store, clock=clock, keep=chosen.versions_kept)
    layers = Layers(
        bus=bus,
        functions=functions,
        clock=clock,
        metrics=metrics,
        spared=Spared(age=timedelta(hours=chosen.layer_hours), total_bytes=chosen.layer_max_mb * _MIB),
    )
    loops = (
        service.spawn(readiness.run(), name="store ping"),
        service.spawn(deployments.run(), name="deployments"),
        service.spawn(history.run(), name="history"),
        service.spawn(figures.run(), name="figures"),
        service.spawn(history_retention.run(), name="history retention"),
        service.spawn(audit.run(), name="audit"),
        service.spawn(facts.run(), name="facts"),
        service.spawn(audit_retention.run(every_seconds=60.0), name="audit retention"),
        service.spawn(pruning.run(), name="version pruning"),
        service.spawn(layers.run(), name="layer pruning"),
    )
    service.stack.push_async_callback(_end, loops)
    server = rpc.Server(bus, "registry", service.tasks)
    service.stack.push_async_callback(server.stop)
    releases = Releases(functions=functions, audit=audit, vault=vault, sealer=sealer, clock=clock, on_written=deployments.adopt)
    await releases.serve(server)
    rotation = Rotation(store=store, functions=functions, vault=vault, sealer=sealer, audit=audit, on_written=deployments.adopt)
    await rotation.serve(server)
    await Handlers(bus=bus, store=store, audit=audit).serve(server)
    await server.serve("figures", FiguresGet, figures.last_day)
    await server.serve("tail", TailLog, Tail(bus=bus, store=store).tail)
    await vault.serve(server)
    editor = Editor(
        home=home,
        source=source,
        deployments=deployments,
        functions=functions,
        clock=clock,
        namespace_depth=chosen.namespace_depth,
    )
    await editor.serve(server)
    await Trees(home=home, source=source, deployments=deployments).serve(server)


def _home(chosen: RegistrySettings, *, store: Store, sealer: Sealer, clock: Clock) -> Home:
    """Return where the files of functions are: in the folder that is named, or in the store."""
    if chosen.functions_root is not None:
        return FolderHome(chosen.functions_root, pace=pace(chosen))
    return StoredHome(store=store, sealer=sealer, clock=clock)


def _options(chosen: RegistrySettings) -> Options:
    return Options(
        namespace_depth=chosen.namespace_depth,
        ignore_dirs=chosen.zero_config_ignore_dirs,
        force_url=chosen.force_url,
        runtimes=chosen.runtimes,
        defaults=defaults(chosen),
        max_asset_bytes=chosen.max_asset_bytes,
        infers=infers(chosen),
    )


async def _store(chosen: RegistrySettings) -> Store:
    """Open the store, as soon as it can be."""
    told = False
    while True:
        try:
            return await _open(chosen)
        except errors.UnavailableError as error:
            if not told:
                log.warning("the store cannot be opened yet: %s", error, extra={"action": "store_gone"})
            told = True
            await asyncio.sleep(_RETRY_SECONDS)


async def _migrate(store: Store) -> None:
    """Bring the store to the present form, as soon as it can be reached; before that nothing else touches it."""
    migrations = Migrations(store=store, clock=SystemClock(), replica=processes.replica_name())
    while True:
        try:
            await migrations.run()
        except errors.TemporaryError as error:
            log.warning("the store's form cannot be looked at yet: %s", error, extra={"action": "migration_waits"})
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return


async def _open(chosen: RegistrySettings) -> Store:
    url = chosen.mongo_url.get_secret_value()
    if url:
        from libs.storage.mongo import MongoStore  # an embedded platform runs without the driver

        return await MongoStore.open(url, database="fnbus_registry")
    from libs.storage.sqlite import SqliteStore

    return await SqliteStore.open(chosen.data_dir / "registry.sqlite3")


async def _end(loops: tuple[asyncio.Task[None], ...]) -> None:
    """End the loops while bus and store are still there for what they have under way."""
    for loop in loops:
        loop.cancel()
    await asyncio.wait(loops)


class _NoKeys:
    """Stands where a key ring is not configured: functions without environment values need none."""

    active = ""

    def seal(self, plaintext: bytes, *, context: str) -> bytes:
        raise errors.PermanentError("secret values cannot be kept: FNBUS_SECRET_KEYS is not set")

    def open(self, sealed: bytes, *, context: str) -> bytes:
        raise errors.PermanentError("FNBUS_SECRET_KEYS is not set")

    def is_current(self, sealed: bytes) -> bool:
        return True


def _sealer(chosen: RegistrySettings) -> Sealer:
    text = chosen.secret_keys.get_secret_value()
    return KeyRing.parse(text) if text else _NoKeys()
