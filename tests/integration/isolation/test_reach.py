"""Attackers look for what is not theirs: files, environments, processes, addresses."""

import contextlib
import json
import os
import socket
from pathlib import Path

import pytest

from libs.testing.cluster import Cluster
from services.executor.sandbox import seccomp
from tests.integration.isolation.attackers import SECRET
from tests.integration.isolation.victim import Victim

_DENIED = 1


async def test_functions_cannot_read_the_hosts_files(victim: Victim, runtime: str, state: Path) -> None:
    for path in ("/etc/shadow", "/root", "/etc/hostname", str(state), str(Path(__file__).parents[3])):
        assert "failed" in (await victim.attack(f"{runtime}-closed", "read", path=path)).text
        assert "failed" in (await victim.attack(f"{runtime}-closed", "listing", path=path)).text


async def test_functions_cannot_read_each_others_files(victim: Victim, runtime: str, cluster: Cluster, state: Path) -> None:
    executor = cluster.of("executor")[0]
    places = Path(executor.env["FNBUS_DATA_DIR"]) / "executor"
    assert places.is_dir()
    for path in (places, places / "workers", places / "bundles", cluster.functions):
        assert "failed" in (await victim.attack(f"{runtime}-closed", "listing", path=str(path))).text
    own = await victim.done(f"{runtime}-closed", "listing", path="/fn")
    assert len([name for name in own if name.startswith("handler")]) == 1
    assert str(state) not in str(await victim.done(f"{runtime}-closed", "listing", path="/"))


async def test_functions_cannot_read_each_others_environment(victim: Victim, runtime: str, cluster: Cluster) -> None:
    secret = await victim.client.get(f"/{runtime}-secret", params={"do": "environ"})
    assert secret.status_code == 200
    keys = cluster.env["FNBUS_SECRET_KEYS"]
    own = json.dumps(await victim.done(f"{runtime}-closed", "environ"))
    pids = [pid for pid in await victim.done(f"{runtime}-closed", "listing", path="/proc") if str(pid).isdigit()]
    assert len(pids) < 5
    for pid in pids:
        own += (await victim.attack(f"{runtime}-closed", "read", path=f"/proc/{pid}/environ")).text
    own = own.replace("FNBUS_GUEST=", "")  # the guest's own: its descriptors
    for text in (SECRET, keys, "FNBUS_", cluster.nats.url):
        assert text not in own


async def test_functions_see_no_other_processes_and_cannot_signal_them(victim: Victim, cluster: Cluster) -> None:
    executor = cluster.of("executor")[0].pid
    assert "failed" in (await victim.attack("python-closed", "kill", pid=executor)).text
    assert "failed" in (await victim.attack("python-closed", "kill", pid=1)).text
    assert "failed" in (await victim.attack("python-closed", "read", path=f"/proc/{executor}/mem")).text
    assert (await victim.attack("python-closed", "kill", pid=-1)).status_code in (200, 502)
    assert cluster.of("executor")[0].running
    await victim.fine()


async def test_functions_reach_no_address_without_permission(victim: Victim, runtime: str, cluster: Cluster) -> None:
    bus = int(cluster.nats.url.rpartition(":")[2])
    gateway = int(cluster.url.rpartition(":")[2])
    for host, port in (("127.0.0.1", bus), ("127.0.0.1", gateway), ("169.254.169.254", 80), ("1.1.1.1", 443)):
        answer = await victim.attack(f"{runtime}-closed", "connect", host=host, port=port)
        assert "failed" in answer.text, (host, port)


async def test_functions_with_network_reach_nothing_of_this_machine(
    victim: Victim, runtime: str, cluster: Cluster, fenced: bool
) -> None:
    if not fenced:
        return
    for host in ("169.254.169.254", "100.100.100.200", "168.63.129.16"):
        told = (await victim.attack(f"{runtime}-open", "connect", host=host, port=80)).text
        assert "failed" in told
        assert "timed out" not in told.lower()  # refused at once, not lost
    bus = int(cluster.nats.url.rpartition(":")[2])
    gateway = int(cluster.url.rpartition(":")[2])
    for host in ("127.0.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1", *_own_addresses()):
        for port in (bus, gateway):
            answer = await victim.attack(f"{runtime}-open", "connect", host=host, port=port)
            assert "failed" in answer.text, (host, port)


async def test_functions_that_say_so_reach_this_machine(victim: Victim, runtime: str, cluster: Cluster) -> None:
    gateway = int(cluster.url.rpartition(":")[2])
    assert await victim.done(f"{runtime}-local", "connect", host="127.0.0.1", port=gateway) == "connected"


@pytest.mark.parametrize("name", ["python", "node", "deno", "php"])
async def test_functions_reach_listed_hosts_and_no_others(victim: Victim, name: str, present: tuple[str, ...]) -> None:
    if name not in present:
        pytest.skip(f"{name} is not here")
    function = f"{name}-listed"
    assert await victim.done(function, "fetch", url=f"{victim.cluster.url}/neighbour") == "fine"
    for url in ("http://localhost:1/", "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/"):
        told = await victim.attack(function, "fetch", url=url)
        assert "failed" in told.text, url
    gateway = int(victim.cluster.url.rpartition(":")[2])
    assert "failed" in (await victim.attack(function, "connect", host="127.0.0.1", port=gateway)).text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_list_of_hosts_leads_to_nothing_of_this_machine(victim: Victim, cluster: Cluster, host: str) -> None:
    for url in (cluster.url, cluster.nats.url):
        told = await victim.attack("python-named", "fetch", url=f"http://{host}:{url.rpartition(':')[2]}/_fn/health")
        assert "HTTP Error 403" in told.text


async def test_functions_find_no_sockets_of_the_platform(victim: Victim) -> None:
    assert "Cannot" not in str(await victim.done("python-closed", "shell", script="cat /proc/net/unix | wc -l"))
    links = str(await victim.done("python-closed", "shell", script="ls -l /proc/*/fd 2>/dev/null"))
    for word in (".sock", "nats", "sqlite", "data", "log"):
        assert word not in links


@pytest.mark.parametrize("name", ["python", "php", "rust"])
async def test_functions_cannot_make_system_calls_that_lead_out(victim: Victim, name: str, present: tuple[str, ...]) -> None:
    machine = seccomp.here()
    if machine is None or name not in present:
        pytest.skip(f"{name} is not here, or no filter for this machine")
    wanted = [[call, machine.calls[call]] for call in seccomp.denied(machine)]
    told = await victim.done(f"{name}-closed", "calls", calls=json.dumps(wanted))
    if name == "php" and "FFI" in str(told):
        return  # PHP itself has no way to a system call then
    assert set(told.values()) == {_DENIED}
    assert len(told) > 40


async def test_deno_code_finds_no_way_to_native_code(victim: Victim, present: tuple[str, ...]) -> None:
    if "deno" not in present:
        pytest.skip("deno is not here")
    assert await victim.done("deno-open", "native") == []


async def test_functions_cannot_write_where_others_would_see_it(victim: Victim) -> None:
    places = "/usr/x /fn/x /etc/x /proc/sys/kernel/core_pattern /dev/x"
    script = f"for each in {places}; do (echo x > $each) 2>/dev/null && echo $each; done"
    assert await victim.done("python-closed", "shell", script=script) == ""


async def test_functions_have_no_privilege(victim: Victim) -> None:
    status = str(await victim.done("python-closed", "shell", script="cat /proc/self/status"))
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == 0, name
    assert (fields["NoNewPrivs"].strip(), fields["Seccomp"].strip()) == ("1", "2")
    assert fields["Uid"].split()[0] != "0"


async def test_workers_run_under_users_of_their_own(victim: Victim, cluster: Cluster) -> None:
    if os.geteuid() != 0:
        return
    for name in ("python-closed", "python-twin"):
        await victim.done(name, "environ")
    users = [_uid(pid) for pid in _descendants(cluster.of("executor")[0].pid) if _uid(pid) >= 40_000]
    assert len(users) >= 2
    assert len(set(users)) == len(users)


async def test_functions_may_start_no_program_when_they_may_not(victim: Victim, runtime: str) -> None:
    answer = await victim.attack(f"{runtime}-still", "shell", script="echo started")
    assert answer.status_code in (200, 502)
    assert '"started' not in answer.text
    await victim.fine()


async def test_nothing_is_left_to_the_next_version_or_function(victim: Victim, runtime: str) -> None:
    assert await victim.done(f"{runtime}-closed", "leave", mark="mine") == "left"
    assert await victim.done(f"{runtime}-twin", "left") == []


def _own_addresses() -> set[str]:
    """Return this machine's addresses besides the loopback's."""
    found: set[str] = set()
    for family, target in ((socket.AF_INET, "192.0.2.99"), (socket.AF_INET6, "2001:db8::99")):
        with socket.socket(family, socket.SOCK_DGRAM) as asked, contextlib.suppress(OSError):
            asked.connect((target, 9))
            found.add(asked.getsockname()[0])
    return found


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    pending = [pid]
    while pending:
        for task in Path(f"/proc/{pending.pop()}/task").glob("*/children"):
            children = [int(child) for child in task.read_text().split()]
            found.update(children)
            pending += children
    return found


def _uid(pid: int) -> int:
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except FileNotFoundError:
        return -1
