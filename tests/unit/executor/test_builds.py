"""Builds: made once for the same inputs, told as they go, bounded, and ended with all that they started."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs import errors
from libs.bus.memory import MemoryBroker, MemoryBus
from libs.messages import codec, subjects
from libs.messages.builds import LayerManifest
from libs.messages.logs import LogBatch
from libs.testing.wait import eventually
from services.executor.builds import toolbox
from services.executor.builds.build_run import Bounds
from tests.unit.executor.building import ShellRuntime, Stand, standing


@pytest.fixture
def broker() -> MemoryBroker:
    """What all buses of a test share."""
    return MemoryBroker()


@pytest.fixture
async def stand(broker: MemoryBroker, tmp_path: Path) -> AsyncIterator[Stand]:
    """An executor that builds, in plain processes."""
    async with standing(MemoryBus(broker), tmp_path / "one") as made:
        yield made


def counting(folder: Path, then: str) -> str:
    """Return a script that leaves a trace each time it runs."""
    return f"echo run >> {folder}/runs; mkdir out; {then}"


def runs(folder: Path) -> int:
    path = folder / "runs"
    return len(path.read_text().splitlines()) if path.exists() else 0


async def test_build_makes_a_layer_that_workers_find(stand: Stand) -> None:
    reply = await stand.build({"build.sh": "mkdir out; echo built > out/lib; chmod +x out/lib", "handler.sh": "a"})
    assert reply.resolution.state == "ok"
    assert (reply.resolution.tool, reply.resolution.manifest) == ("sh 1.0", "build.sh")
    assert reply.layer_mount == ".deps"
    folder = await stand.layers.folder(reply.layer)
    assert (folder / "lib").read_text() == "built\n"
    assert os.access(folder / "lib", os.X_OK)


async def test_code_without_anything_to_build_needs_no_layer(stand: Stand) -> None:
    reply = await stand.build({"handler.sh": "a"})
    assert (reply.resolution.state, reply.layer) == ("none", "")


async def test_manifest_that_cannot_be_read_is_told(stand: Stand) -> None:
    reply = await stand.build({"broken.toml": "?", "handler.sh": "a"})
    assert reply.resolution.state == "error"
    assert reply.resolution.message == "broken.toml: line 1 is no TOML"


async def test_versions_with_the_same_inputs_share_one_build(stand: Stand, tmp_path: Path) -> None:
    script = counting(tmp_path, "echo x > out/x")
    first = await stand.build({"build.sh": script, "handler.sh": "a"})
    second = await stand.build({"build.sh": script, "handler.sh": "another"}, function="other")
    assert first.layer == second.layer
    assert runs(tmp_path) == 1


async def test_requests_that_come_while_it_is_built_wait_for_the_one_build(stand: Stand, tmp_path: Path) -> None:
    files = {"build.sh": counting(tmp_path, "sleep 0.3; echo x > out/x"), "handler.sh": "a"}
    replies = await asyncio.gather(*(stand.build(files, function=f"f{number}") for number in range(5)))
    assert len({reply.layer for reply in replies}) == 1
    assert runs(tmp_path) == 1


async def test_second_executor_takes_the_layer_from_the_store(stand: Stand, broker: MemoryBroker, tmp_path: Path) -> None:
    script = counting(tmp_path, "echo x > out/x")
    first = await stand.build({"build.sh": script, "handler.sh": "a"})
    await stand.builds.stop()
    async with standing(MemoryBus(broker), tmp_path / "two", executor="executor-2") as other:
        second = await other.build({"build.sh": script, "handler.sh": "a"})
        assert second.executor == "executor-2"
        assert (second.layer, second.resolution) == (first.layer, first.resolution)
        assert (await other.layers.folder(second.layer) / "x").read_text() == "x\n"
    assert runs(tmp_path) == 1


async def test_another_platform_has_a_layer_of_its_own(broker: MemoryBroker, tmp_path: Path) -> None:
    files = {"build.sh": "mkdir out; echo x > out/x", "handler.sh": "a"}
    async with standing(MemoryBus(broker), tmp_path / "one") as here:
        first = await here.build(files)
        await here.builds.stop()
        async with standing(MemoryBus(broker), tmp_path / "two", platform="linux-riscv64-musl") as there:
            second = await there.build(files)
            with pytest.raises(errors.UnavailableError, match="was built for linux-riscv64-musl"):
                await here.layers.folder(second.layer)
    assert first.layer != second.layer


async def test_lost_part_of_a_layer_is_built_again(stand: Stand, tmp_path: Path) -> None:
    files = {"build.sh": counting(tmp_path, "echo x > out/x"), "handler.sh": "a"}
    first = await stand.build(files)
    manifest = codec.decode(LayerManifest, await stand.store.get(first.layer))
    await stand.store.delete(f"{first.layer}/{manifest.parts[0].digest}")
    second = await stand.build(files)
    assert second.layer == first.layer
    assert runs(tmp_path) == 2
    assert (await stand.layers.folder(second.layer) / "x").exists()


async def test_failure_tells_the_tools_last_lines_and_leaves_no_layer(stand: Stand, tmp_path: Path) -> None:
    reply = await stand.build({"build.sh": "echo looking; echo no such package: leftpadd >&2; exit 3", "handler.sh": "a"})
    assert reply.resolution.state == "error"
    assert reply.resolution.message == "looking\nno such package: leftpadd\nexit code 3"
    assert reply.layer == ""
    assert not list((tmp_path / "one" / "builds").iterdir())


async def test_failure_is_told_to_those_who_ask_shortly_after_and_not_built_again(stand: Stand, tmp_path: Path) -> None:
    files = {"build.sh": counting(tmp_path, "exit 1"), "handler.sh": "a"}
    await stand.build(files)
    reply = await stand.build(files)
    assert reply.resolution.state == "error"
    assert runs(tmp_path) == 1


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("exit 0", "left no out"),
        ("mkdir out; ln -s /etc/passwd out/passwd", "out of the build"),
        ("mkdir out; mkfifo out/pipe", "neither a file"),
        ("mkdir out; head -c 3000000 /dev/zero > out/large", "more than 1 MB|File too large|exit code|File size limit"),
        ("mkdir out; for n in 1 2 3; do head -c 900000 /dev/zero > out/$n; done", "more than 1 MB"),
    ],
    ids=["no-output", "link-out", "fifo", "one-large-file", "too-much"],
)
async def test_outcome_that_no_layer_may_have_is_a_failure(
    script: str, fault: str, broker: MemoryBroker, tmp_path: Path
) -> None:
    async with standing(MemoryBus(broker), tmp_path / "one", bounds=Bounds(max_mb=1)) as stand:
        reply = await stand.build({"build.sh": script, "handler.sh": "a"})
    assert reply.resolution.state == "error"
    assert any(each in reply.resolution.message for each in fault.split("|")), reply.resolution.message


async def test_build_that_takes_too_long_is_ended_with_its_children(broker: MemoryBroker, tmp_path: Path) -> None:
    script = f"trap '' TERM; sleep 600 & echo $! > {tmp_path}/child; wait; sleep 600"
    async with standing(MemoryBus(broker), tmp_path / "one", bounds=Bounds(seconds=1)) as stand:
        reply = await stand.build({"build.sh": script, "handler.sh": "a"})
    assert reply.resolution.state == "error"
    assert "took longer than 1 s" in reply.resolution.message
    child = int((tmp_path / "child").read_text())
    await eventually(lambda: not is_running(child))


async def test_build_has_the_time_of_its_language(broker: MemoryBroker, tmp_path: Path) -> None:
    async with standing(MemoryBus(broker), tmp_path / "one", seconds={"shell": 1}) as stand:
        reply = await stand.build({"build.sh": "sleep 600", "handler.sh": "a"})
    assert "took longer than 1 s" in reply.resolution.message


async def test_nothing_is_installed_for_a_language_that_is_to_have_nothing(broker: MemoryBroker, tmp_path: Path) -> None:
    async with standing(MemoryBus(broker), tmp_path / "one", uninstalled=("shell",)) as stand:
        reply = await stand.build({"build.sh": "exit 1", "handler.sh": "a"})
    assert (reply.resolution.state, reply.layer) == ("none", "")


async def test_build_that_fills_the_disk_is_ended(broker: MemoryBroker, tmp_path: Path) -> None:
    script = "i=0; while true; do i=$((i+1)); head -c 500000 /dev/zero > file$i; sleep 0.05; done"
    async with standing(MemoryBus(broker), tmp_path / "one", bounds=Bounds(seconds=60, max_mb=1)) as stand:
        reply = await stand.build({"build.sh": script, "handler.sh": "a"})
    assert "4 MB on disk" in reply.resolution.message


async def test_build_that_takes_too_much_memory_is_ended(broker: MemoryBroker, tmp_path: Path) -> None:
    script = "exec /usr/bin/env python3 -c 'import time; held = bytearray(b\"x\") * 200_000_000; time.sleep(600)'"
    async with standing(MemoryBus(broker), tmp_path / "one", bounds=Bounds(seconds=60, memory_mb=64)) as stand:
        reply = await stand.build({"build.sh": script, "handler.sh": "a"})
    assert "64 MB of memory" in reply.resolution.message


async def test_long_build_is_pending_and_is_asked_for_at_its_executor(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("services.executor.builds.builds._ANSWER_SECONDS", 0.05)
    fence = tmp_path / "fence"
    os.mkfifo(fence)
    digest = await stand.put({"build.sh": f"read line < {fence}; mkdir out; echo x > out/x", "handler.sh": "a"})
    reply = await stand.ask(digest)
    assert (reply.resolution.state, reply.executor) == ("pending", "executor-1")
    assert reply.resolution.tool == "sh 1.0"
    await asyncio.to_thread(fence.write_text, "go\n")
    final = await eventually(lambda: asked(stand, digest))
    assert final is not None
    assert final.resolution.state == "ok"


async def asked(stand: Stand, digest: str):
    reply = await stand.ask(digest, executor=stand.executor)
    return reply if reply.resolution.state != "pending" else None


async def test_progress_is_logged_and_told_live(stand: Stand, broker: MemoryBroker, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []
    follower = MemoryBus(broker)

    def hear(data: bytes) -> None:
        heard.extend(line.text for line in codec.decode(LogBatch, data).live_lines())

    await follower.subscribe(subjects.log(namespace="default", function="hello"), lambda message: hear(message.data))
    with caplog.at_level(logging.INFO):
        await stand.build({"build.sh": "echo Collecting leftpad; mkdir out; echo x > out/x", "handler.sh": "a"})
    await eventually(lambda: len(heard) == 3)
    assert heard[0] == "hello: installs with sh 1.0"
    assert heard[1] == "Collecting leftpad"
    assert heard[2].startswith("hello: sh 1.0 is done in")
    told = [record for record in caplog.records if getattr(record, "action", "").startswith("build_")]
    assert [record.__dict__["action"] for record in told] == ["build_started", "build_done"]
    assert told[0].__dict__["function"] == "hello"


async def test_runtime_that_is_not_here_is_left_to_another_executor(stand: Stand) -> None:
    digest = await stand.put({"handler.sh": "a"})
    stand.runtime = ShellRuntime(name="cobol")
    with pytest.raises(errors.UnavailableError, match="not present"):
        await stand.ask(digest)


async def test_code_that_is_not_in_the_store_yet_is_a_matter_of_time(stand: Stand) -> None:
    with pytest.raises(errors.UnavailableError, match="not in the store"):
        await stand.ask("0" * 64)


async def test_credentials_reach_the_tool_and_neither_the_log_nor_the_layer(
    broker: MemoryBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {"PIP_INDEX_URL": "https://me:s3cret-word@index/simple", "DB_PASSWORD": "another", "AWS_KEY": "x"}
    tools = toolbox.gather(environ, tmp_path, scripts=False)
    assert tools.env.keys() & environ.keys() == {"PIP_INDEX_URL"}
    async with standing(MemoryBus(broker), tmp_path / "one", tools=tools) as stand:
        with caplog.at_level(logging.INFO):
            failed = await stand.build({"build.sh": "echo from $PIP_INDEX_URL; exit 1", "handler.sh": "a"})
            kept = await stand.build({"build.sh": "mkdir out; echo $PIP_INDEX_URL > out/url", "handler.sh": "a"})
    assert failed.resolution.message == "from https://***@index/simple\nexit code 1"
    assert kept.resolution.state == "error"
    assert "holds credentials" in kept.resolution.message
    assert "s3cret-word" not in caplog.text


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
