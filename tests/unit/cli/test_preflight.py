"""What is found before anything is started: each fault one clear line."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cli import preflight
from cli.errors import CommandError


def test_folder_is_returned_as_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert preflight.check_folder(Path()) == tmp_path.resolve()


def test_folder_is_refused_when_it_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"there is no folder .*missing"):
        preflight.check_folder(tmp_path / "missing")


def test_folder_is_refused_when_it_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="is not a folder"):
        preflight.check_folder(tmp_path / "file")


def test_folder_is_refused_when_it_is_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(CommandError, match="loop"):
        preflight.check_folder(tmp_path / "loop")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_folder_is_refused_when_it_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o000)
    with pytest.raises(CommandError, match=r"cannot read the folder .*: permission denied"):
        preflight.check_folder(tmp_path / "closed")


def test_port_is_refused_when_it_is_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"port {port} is in use"):
            preflight.free_port("127.0.0.1", port)


def test_port_is_any_free_one_for_zero() -> None:
    assert preflight.free_port("127.0.0.1", 0) > 0


@pytest.mark.parametrize("host", ["not a host", "192.0.2.1"])
def test_port_is_refused_when_the_host_is_not_this_one(host: str) -> None:
    with pytest.raises(CommandError, match=host):
        preflight.free_port(host, 0)


def test_state_is_refused_while_another_process_holds_it_and_free_when_that_is_killed(tmp_path: Path) -> None:
    program = """if True:
        import sys
        from pathlib import Path
        from cli.preflight import hold_state
        with hold_state(Path(sys.argv[1])):
            print("held", flush=True)
            sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(CommandError, match=f"in use by another run .process {holder.pid}."), preflight.hold_state(tmp_path):
            pass
        holder.kill()
    with preflight.hold_state(tmp_path) as held:
        assert held == tmp_path.resolve()
        assert (tmp_path / preflight.LOCK_FILE).read_text() == f"{os.getpid()}\n"


def test_state_is_made_when_it_is_not_there_and_only_its_owner_may_look(tmp_path: Path) -> None:
    with preflight.hold_state(tmp_path / "a" / "state") as held:
        assert held.stat().st_mode & 0o077 == 0


def test_state_is_refused_when_a_file_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="cannot use the state folder"), preflight.hold_state(tmp_path / "file"):
        pass
