"""What a build sees and may do, in the sandbox proper; plain processes are left to the unit tests."""

import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from libs import errors
from libs.bus.memory import MemoryBus
from libs.testing.wait import eventually
from services.executor.builds import toolbox
from services.executor.builds.build_run import Bounds
from services.executor.sandbox import choice, fence
from tests.unit.executor.building import Stand, standing


@pytest.fixture
async def bwrap(tmp_path: Path) -> str:
    """A bubblewrap that works here."""
    try:
        (await choice.probe(tmp_path / "probe")).close()
    except errors.UnavailableError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    return shutil.which("bwrap") or ""


@pytest.fixture
async def stand(bwrap: str, tmp_path: Path) -> AsyncIterator[Stand]:
    """An executor that builds in sandboxes."""
    home = tmp_path / "home"
    (home / ".config" / "pip").mkdir(parents=True)
    (home / ".config" / "pip" / "pip.conf").write_text("[global]\ntimeout = 77\n")
    (home / ".npmrc").write_text("//index/:_authToken=t0ps3cret-token\n")
    (home / ".npmrc").chmod(0o600)
    (home / "private").write_text("mine")
    environ = {"PIP_INDEX_URL": "https://index/simple", "FNBUS_SECRET_KEYS": "keys", "AWS_SECRET_ACCESS_KEY": "aws"}
    tools = toolbox.gather(environ, home, scripts=False)
    async with standing(MemoryBus(), tmp_path / "one", bwrap=bwrap, tools=tools, bounds=Bounds(seconds=60)) as made:
        yield made


async def told(stand: Stand, script: str) -> str:
    """Return what a script leaves in `out/told`."""
    reply = await stand.build({"build.sh": f"mkdir out; ({script}) > out/told 2>&1; true", "handler.sh": "a"})
    assert reply.resolution.state == "ok", reply.resolution.message
    return (await stand.layers.folder(reply.layer) / "told").read_text()


async def test_build_has_the_settings_of_its_tools_and_no_secrets(stand: Stand) -> None:
    environment = await told(stand, "env")
    assert "PIP_INDEX_URL=https://index/simple" in environment
    assert "PIP_ONLY_BINARY=:all:" in environment
    assert "keys" not in environment
    assert "aws" not in environment
    assert "timeout = 77" in await told(stand, "cat ~/.config/pip/pip.conf")
    assert await told(stand, "wc -l < ~/.npmrc") == "1\n"


async def test_build_sees_nothing_of_the_host_but_its_system(stand: Stand, tmp_path: Path) -> None:
    listing = await told(stand, f"cat {tmp_path}/home/private; ls -a {tmp_path}; ls /root /home /work /etc/shadow /run")
    assert "mine" not in listing
    assert listing.count("No such file") >= 5
    assert "NATS" not in await told(stand, "cat /proc/1/environ | tr '\\0' '\\n'")


@pytest.fixture
def wheels() -> Iterator[Path]:
    """A folder below the host's `/tmp`, which is not the build's."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "a.whl").write_text("a wheel\n")
        (folder / "a.whl").chmod(0o644)
        yield folder


async def test_build_sees_what_it_is_shown_below_the_hosts_tmp(bwrap: str, wheels: Path, tmp_path: Path) -> None:
    tools = toolbox.gather({"PIP_FIND_LINKS": str(wheels)}, tmp_path, scripts=False)
    async with standing(MemoryBus(), tmp_path / "one", bwrap=bwrap, tools=tools, bounds=Bounds(seconds=60)) as stand:
        seen = await told(stand, f"cat {wheels}/a.whl; touch /tmp/mine; touch {wheels}/b")
    assert seen == f"a wheel\ntouch: cannot touch '{wheels}/b': Read-only file system\n"


async def test_build_reaches_no_address_of_this_machine(stand: Stand) -> None:
    if not fence_works():
        pytest.skip("no fence here")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        attempt = f"(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>&1 && echo reached"
        assert "reached" not in await told(stand, f'bash -c "{attempt}"')


async def test_build_reaches_a_mirror_on_this_machine_when_its_settings_name_one(bwrap: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        attempt = f"(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>&1 && echo reached"
        tools = toolbox.gather({"PIP_INDEX_URL": f"http://user:pass@localhost:{port}/simple"}, tmp_path, scripts=False)
        async with standing(MemoryBus(), tmp_path / "two", bwrap=bwrap, tools=tools, bounds=Bounds(seconds=60)) as mirrored:
            assert await told(mirrored, f'bash -c "{attempt}"') == "reached\n"


def fence_works() -> bool:
    """Whether this machine has a fence for root's builds."""
    try:
        fence.put_up([(1, 1)]).close()
    except OSError:
        return False
    return os.geteuid() == 0


async def test_build_may_write_to_its_own_folders_only(stand: Stand) -> None:
    refused = await told(stand, "touch /usr/x; touch /etc/x; touch /x; echo x > /proc/sys/kernel/core_pattern; echo done")
    assert refused.endswith("done\n")
    assert len(refused.splitlines()) == 5


async def test_build_has_no_rights(stand: Stand) -> None:
    facts = await told(stand, "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; id -u")
    assert "CapEff:\t0000000000000000" in facts
    assert not facts.endswith("\n0\n")


async def test_credentials_in_settings_never_get_into_a_layer(stand: Stand) -> None:
    reply = await stand.build({"build.sh": "mkdir out; cp ~/.npmrc out/config", "handler.sh": "a"})
    assert reply.resolution.state == "error"
    assert "config holds credentials" in reply.resolution.message


async def test_build_that_takes_too_long_is_ended_with_all_that_it_started(bwrap: str, tmp_path: Path) -> None:
    mark = f"sleep 6{os.getpid()}"  # to be found by, among all processes
    script = f"trap '' TERM; setsid {mark} & (setsid sh -c '{mark}' &) ; {mark}"
    async with standing(MemoryBus(), tmp_path / "one", bwrap=bwrap, bounds=Bounds(seconds=1)) as stand:
        reply = await stand.build({"build.sh": script, "handler.sh": "a"})
    assert "took longer than 1 s" in reply.resolution.message
    await eventually(lambda: not processes(mark))
    assert not list((tmp_path / "one" / "builds").iterdir())


async def test_what_a_build_leaves_running_ends_with_it(stand: Stand) -> None:
    mark = f"sleep 7{os.getpid()}"
    await told(stand, f"setsid {mark} > /dev/null 2>&1 &")
    await eventually(lambda: not processes(mark))


def processes(command: str) -> list[str]:
    """Return the processes of this machine with that command line."""
    found: list[str] = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = each.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if line == command:
            found.append(each.parent.name)
    return found
