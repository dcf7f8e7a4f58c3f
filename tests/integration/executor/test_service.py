"""The executor as a process: settings, SIGTERM, SIGKILL, the real Python guest, and the spans that it tells."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from libs.bus import jetstream, streams
from libs.bus.port import Bus
from libs.messages import bundles, codec, subjects
from libs.messages.calls import Heartbeat, Invocation, Reply, ReplyKind
from libs.messages.catalog import Bundle, BundleFile, FunctionEntry, Policy, VersionEntry
from libs.testing.nats import NatsServer, running_nats
from libs.testing.wait import eventually

SLOW = b"""
import time

def handler(event):
    time.sleep(float(event["query"].get("s", 0)))
    return {"body": "slept"}
"""
PATIENCE = 60.0


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A server."""
    async with running_nats(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def bus(nats: NatsServer) -> AsyncIterator[Bus]:
    """The gateway's connection."""
    made = await jetstream.connect(url=nats.url, user="", password="", name="gateway")
    for stream in (streams.JOBS, streams.EVENTS):
        await made.ensure_stream(stream)
    yield made
    await made.close()


async def launch(folder: Path, settings: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start an executor process."""
    env = {**os.environ, "FNBUS_DATA_DIR": str(folder / "data"), "FNBUS_LOG_FORMAT": "text", **settings}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.executor", env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Return exit code and output once the process has ended."""
    async with asyncio.timeout(PATIENCE):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def started(bus: Bus, nats: NatsServer, folder: Path) -> asyncio.subprocess.Process:
    """Return an executor that has sent a heartbeat."""
    beats: list[Heartbeat] = []
    subscription = await bus.subscribe(subjects.HEARTBEAT, lambda message: beats.append(codec.decode(Heartbeat, message.data)))
    process = await launch(folder, {"FNBUS_NATS_URL": nats.url})
    own = f"-{process.pid}-"  # another executor may be heard as well
    await eventually(lambda: any(own in beat.executor for beat in beats) or process.returncode is not None, within=PATIENCE)
    await subscription.unsubscribe()
    assert "python" in next(beat for beat in beats if own in beat.executor).runtimes
    return process


async def deploy(bus: Bus) -> VersionEntry:
    """Deploy the slow function."""
    bundle = Bundle(files=(BundleFile(path="handler.py", data=SLOW),))
    digest = bundles.bundle_digest(bundle)
    await (await bus.objects(subjects.BUNDLE_STORE)).put(digest, codec.encode(bundle))
    version = VersionEntry(label="default", digest="a" * 64, bundle=digest, entrypoint="handler.py", policy=Policy())
    entry = FunctionEntry(namespace="default", runtime="python", name="slow", revision=1, source="folder", versions=(version,))
    key = subjects.catalog_key(namespace="default", runtime="python", function="slow")
    await (await bus.bucket(subjects.CATALOG_BUCKET)).put(key, codec.encode(entry))
    return version


async def call(bus: Bus, version: VersionEntry, *, seconds: float = 0) -> Reply:
    """Call it."""
    head = b'{"id":"r","method":"GET","path":"/slow","query":{"s":"%g"},"headers":{},"params":{},"context":{}}' % seconds
    request = Invocation(
        id=f"r-{seconds}",
        namespace="default",
        function="slow",
        runtime="python",
        version="default",
        digest=version.digest,
        budget_ms=int(PATIENCE * 1000),
        head=head,
    )
    subject = subjects.invoke(runtime="python", namespace="default", function="slow")
    return codec.decode(Reply, (await bus.request(subject, codec.encode(request), timeout=PATIENCE)).data)


async def test_executor_answers_with_the_real_guest_and_drains_on_sigterm(bus: Bus, nats: NatsServer, tmp_path: Path) -> None:
    process = await started(bus, nats, tmp_path)
    version = await deploy(bus)
    assert (await call(bus, version)).status == 200
    busy: list[int] = []
    await bus.subscribe(subjects.HEARTBEAT, lambda message: busy.append(codec.decode(Heartbeat, message.data).busy))
    running = asyncio.create_task(call(bus, version, seconds=4))
    await eventually(lambda: any(busy), within=PATIENCE)
    process.send_signal(signal.SIGTERM)
    assert (await running).status == 200
    code, out = await ended(process)
    assert code == 0, out


async def test_no_call_fails_when_one_of_two_executors_is_told_to_stop(bus: Bus, nats: NatsServer, tmp_path: Path) -> None:
    version = await deploy(bus)
    first, second = await started(bus, nats, tmp_path / "first"), await started(bus, nats, tmp_path / "second")
    stopping = asyncio.Event()
    answered: list[int] = []

    async def caller() -> None:
        after = 0
        while after < 5:
            reply = await call(bus, version, seconds=0.02)
            if reply.kind is not ReplyKind.BUSY:  # a gateway asks the next one then
                answered.append(reply.status)
                after += stopping.is_set()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(caller())
        await eventually(lambda: len(answered) >= 20, within=PATIENCE)
        first.send_signal(signal.SIGTERM)
        assert (await ended(first))[0] == 0
        stopping.set()
    assert set(answered) == {200}
    second.send_signal(signal.SIGTERM)
    assert (await ended(second))[0] == 0


async def test_workers_die_with_an_executor_that_is_killed(bus: Bus, nats: NatsServer, tmp_path: Path) -> None:
    process = await started(bus, nats, tmp_path)
    assert (await call(bus, await deploy(bus))).status == 200
    children = [each for each in os.listdir("/proc") if each.isdigit() and parent(each) == process.pid]
    assert children
    process.kill()
    await ended(process)
    await eventually(lambda: not set(children) & set(os.listdir("/proc")), within=PATIENCE)


async def test_executor_refuses_to_start_when_the_sandbox_is_required_and_missing(nats: NatsServer, tmp_path: Path) -> None:
    settings = {"FNBUS_NATS_URL": nats.url, "FNBUS_ISOLATION": "required", "PATH": str(tmp_path)}
    code, out = await ended(await launch(tmp_path, settings))
    assert code == 1
    assert "FNBUS_ISOLATION=required, but bubblewrap is not installed" in out


async def test_executor_names_the_setting_that_is_wrong(tmp_path: Path) -> None:
    code, out = await ended(await launch(tmp_path, {"FNBUS_ISOLATION": "sometimes"}))
    assert code == 2
    assert "FNBUS_ISOLATION" in out


def parent(pid: str) -> int:
    """Return a process's parent."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])
