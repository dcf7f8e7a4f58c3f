"""The fence around workers that use the network: what they do not reach, tried in a network of the test's own."""

import functools
import ipaddress
import json
import os
import subprocess
import sys

import pytest

from services.executor.sandbox import fence

INSIDE, LOCAL = 1_900_000_007, 1_900_009_000

PROGRAM = r"""
import ctypes, fcntl, json, os, socket, struct, sys, time
from services.executor.sandbox import fence

inside, local = map(int, sys.argv[1:])
if ctypes.CDLL(None).unshare(0x4000_0000):
    raise SystemExit("no network of its own")
with socket.socket() as asked:
    fcntl.ioctl(asked, 0x8914, struct.pack("16sH14x", b"lo", 1))
    # Another address of this machine, which is not of the loopback network.
    fcntl.ioctl(asked, 0x8916, struct.pack("16sHH4s8x", b"lo:1", 2, 0, socket.inet_aton("192.0.2.77")))

V4, V6, STREAM, DATAGRAM = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM
kept = []
for family, address in ((V4, "0.0.0.0"), (V6, "::")):
    for kind in (STREAM, DATAGRAM):
        for port in (7777, 53):
            made = socket.socket(family, kind)
            kept.append(made)
            if family == V6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind((address, port))
            made.setblocking(False)
            if kind == STREAM:
                made.listen()

def heard():
    count = 0
    for made in kept:
        try:
            if made.type == DATAGRAM:
                made.recv(100)
            else:
                made.accept()[0].close()
            count += 1
        except BlockingIOError:
            pass
    return count

ADDRESSES = ["127.0.0.1", "127.3.2.1", "0.0.0.0", "192.0.2.77", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0"]

def connected(address, port=7777, device=b"", source=""):
    with socket.socket(V6 if ":" in address else V4, STREAM) as made:
        made.settimeout(5)
        if device:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
        if source:
            made.bind((source, 0))
        made.connect((address, port))

def sent(address, port=7777, flags=0, kind=DATAGRAM):
    with socket.socket(V6 if ":" in address else V4, kind) as made:
        made.settimeout(5)
        made.sendto(b"x", flags, (address, port))

def sent_by_device(address):
    with socket.socket(V4, DATAGRAM) as made:
        told = struct.pack("=I4s4s", 1, bytes(4), bytes(4))
        made.sendmsg([b"x"], [(socket.IPPROTO_IP, 8, told)], 0, (address, 7777))

def attempt(action, *arguments, **named):
    try:
        action(*arguments, **named)
    except TimeoutError:
        return "timed out"
    except OSError:
        return "failed"
    return "done"

def told():
    outcome = {}
    for address in ADDRESSES:
        outcome[f"connect {address}"] = attempt(connected, address)
        outcome[f"device {address}"] = attempt(connected, address, device=b"lo")
        outcome[f"send {address}"] = attempt(sent, address)
        attempt(sent, address, flags=socket.MSG_FASTOPEN, kind=STREAM)
    outcome["source"] = attempt(connected, "0.0.0.0", source="127.0.0.1")
    outcome["pktinfo"] = attempt(sent_by_device, "127.0.0.1")
    return outcome

def as_user(user, action):
    read, write = os.pipe()
    if os.fork() == 0:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        os.write(write, json.dumps(action()).encode())
        os._exit(0)
    os.close(write)
    with open(read) as file:
        return json.load(file)

standing = fence.put_up([(inside, inside + 100)])
result = {"inside": as_user(inside, told), "heard": heard(), "names": as_user(inside, lambda: attempt(sent, "127.0.0.1", 53))}
result["names heard"] = heard()
result["local"] = as_user(local, told)

def squat():
    made = socket.socket()
    made.bind(("0.0.0.0", 6666))
    made.listen()
    caller = os.fork()
    if caller == 0:
        time.sleep(10)
        os._exit(0)
    return caller

holder = as_user(inside, squat)
with socket.socket() as caller:
    caller.settimeout(0.5)
    try:
        caller.connect(("192.0.2.77", 6666))
        result["squat"] = "reached"
    except OSError as error:
        result["squat"] = type(error).__name__
os.kill(holder, 9)
standing.close()
result["closed"] = as_user(inside, lambda: attempt(connected, "127.0.0.1"))
with socket.create_server(("127.0.0.1", 7778)):
    some = fence.put_up([(inside, inside + 100)], [7777])
    result["ports"] = as_user(inside, lambda: {port: attempt(connected, "127.0.0.1", port) for port in (7777, 7778)})
    some.close()
print(json.dumps(result))
"""


@functools.cache
def outcome() -> dict[str, dict[str, str]]:
    """Return what was tried, by users inside and outside of the fence."""
    if os.geteuid() != 0:
        pytest.skip("only root puts up a fence")
    try:
        fence.put_up([(INSIDE, INSIDE)]).close()
    except OSError as error:
        pytest.skip(f"no fence here: {error}")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(INSIDE), str(LOCAL)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_users_inside_reach_no_address_of_the_machine() -> None:
    tried = outcome()["inside"]
    assert {name: how for name, how in tried.items() if how != "failed"} == {}
    assert len(tried) > 20
    assert outcome()["heard"] == 0


def test_networks_besides_the_machine_are_whole_networks() -> None:
    assert all(ipaddress.ip_network(each) for each in fence.CLOSED)
    assert any(ipaddress.ip_address("169.254.169.254") in ipaddress.ip_network(each) for each in fence.CLOSED)


def test_name_servers_of_the_machine_are_reached() -> None:
    assert outcome()["names"] == "done"
    assert outcome()["names heard"] == 1


def test_users_of_the_other_half_reach_everything() -> None:
    assert {name for name, how in outcome()["local"].items() if how != "done"} == set()


def test_nobody_connects_to_a_user_inside() -> None:
    assert outcome()["squat"] != "reached"


def test_fence_falls_when_its_socket_is_closed() -> None:
    assert outcome()["closed"] == "done"


def test_fence_of_some_ports_leaves_the_others_in_reach() -> None:
    assert outcome()["ports"] == {"7777": "failed", "7778": "done"}
