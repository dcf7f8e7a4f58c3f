"""What a guest can see and reach inside the sandbox, tried from inside by a shell."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from libs import errors
from libs.testing.wait import eventually
from services.executor.profile import Profile
from services.executor.runtimes.base import GuestCommand
from services.executor.sandbox import choice
from services.executor.sandbox.base import Sandbox
from services.executor.sandbox.bubblewrap import CODE_ROOT
from tests.unit.executor.scripted import PATIENCE, Caller

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
async def sandbox(tmp_path: Path) -> Sandbox:
    """bubblewrap, as the executor uses it."""
    try:
        return await choice.probe(tmp_path / "state")
    except errors.UnavailableError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A function's folder, with that of another function beside it."""
    for name in ("mine", "others"):
        (tmp_path / "bundles" / name).mkdir(parents=True)
        (tmp_path / "bundles" / name / "handler.py").write_text(f"{name} code")
    return tmp_path / "bundles" / "mine"


async def inside(
    sandbox: Sandbox, code: Path, script: str, *, network: bool = True, env: Mapping[str, str] | None = None
) -> str:
    """Run a shell script in the sandbox and return what it prints, complaints included."""
    info_read, info_write = os.pipe()
    guest_fd = os.open("/dev/null", os.O_RDWR)
    handed: tuple[int, ...] = ()
    try:
        command = GuestCommand(argv=("/bin/sh", "-c", script, "sh"), env=tuple((env or {}).items()))
        launch = sandbox.launch(command, code=code, profile=Profile(network=network), guest_fd=guest_fd, info_fd=info_write)
        handed = launch.fds
        child = await asyncio.create_subprocess_exec(
            *launch.argv,
            env=dict(launch.env),
            pass_fds=(guest_fd, info_write, *launch.fds),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(PATIENCE):
            out, _ = await child.communicate()
    finally:
        for fd in (info_read, info_write, guest_fd, *handed):
            os.close(fd)
    return out.decode()


async def test_sandbox_shows_the_functions_own_folder_read_only(sandbox: Sandbox, code: Path) -> None:
    out = await inside(sandbox, code, f"cat {CODE_ROOT}/handler.py; pwd; touch {CODE_ROOT}/new && echo written")
    assert "mine code" in out
    assert f"\n{CODE_ROOT}\n".replace("\n\n", "\n") in out.replace("mine code", "mine code\n")
    assert "written" not in out


async def test_sandbox_hides_other_functions(sandbox: Sandbox, code: Path) -> None:
    out = await inside(sandbox, code, f"cat {code.parent}/others/handler.py; ls {code.parent}; ls {CODE_ROOT}/..")
    assert "others" not in out.replace(f"{code.parent}/others/handler.py", "")


@pytest.mark.parametrize(
    "path", ["/etc/shadow", "/etc/hostname", "/root", "/home", "/var", "/run", "/sys", "/mnt", str(REPOSITORY)]
)
async def test_sandbox_hides_the_hosts_files(sandbox: Sandbox, code: Path, path: str) -> None:
    assert await inside(sandbox, code, f"test -e {path} && echo seen") == ""


async def test_sandbox_has_users_of_its_own(sandbox: Sandbox, code: Path) -> None:
    out = await inside(
        sandbox, code, "id -u; id -un; wc -l < /etc/passwd; hostname 2>/dev/null || cat /proc/sys/kernel/hostname"
    )
    user, *others = out.split()
    assert int(user) >= 1000
    assert others == ["fnbus", "1", "fnbus"]


async def test_sandbox_hides_the_executors_environment(sandbox: Sandbox, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FNBUS_SECRET_KEYS", "very-secret")
    out = await inside(sandbox, code, "env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'", env={"OWN": "value"})
    assert "very-secret" not in out
    assert "OWN=value" in out
    names = {line.partition("=")[0] for line in out.splitlines() if "=" in line}
    assert names <= {"PATH", "HOME", "LANG", "TMPDIR", "OWN", "PWD", "OLDPWD", "SHLVL", "_"}


async def test_sandbox_hides_the_hosts_processes(sandbox: Sandbox, code: Path) -> None:
    out = await inside(sandbox, code, "for each in /proc/[0-9]*; do cat $each/comm; done")
    assert set(out.split()) <= {"bwrap", "sh", "cat"}


async def test_sandbox_inherits_the_frames_descriptor_and_nothing_else(sandbox: Sandbox, code: Path) -> None:
    strange = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(strange, True)
    try:
        out = await inside(sandbox, code, "ls -l /proc/self/fd | grep -o ' -> .*'")
    finally:
        os.close(strange)
    targets = sorted(line.removeprefix(" -> ").partition(":")[0] for line in out.splitlines())
    assert targets[:2] == ["/dev/null", "/dev/null"]
    assert all(target in ("pipe", "/dev/null") or target.startswith("/proc/") for target in targets)


async def test_sandbox_has_a_private_tmp_that_can_be_written(sandbox: Sandbox, code: Path, tmp_path: Path) -> None:
    del tmp_path
    out = await inside(sandbox, code, "ls -A /tmp | grep -v pytest; echo x > /tmp/y && cat /tmp/y; df -k /tmp | tail -1")
    assert out.startswith("x\n")
    assert "65536" in out


@pytest.mark.parametrize("path", ["/x", "/dev/x", "/etc/x", "/usr/x", "/proc/sys/kernel/hostname"])
async def test_sandbox_cannot_be_written_elsewhere(sandbox: Sandbox, code: Path, path: str) -> None:
    out = await inside(
        sandbox, code, f"test -w $(dirname {path}) && echo writable; ( : >> {path} ) 2>/dev/null && echo written"
    )
    assert "written" not in out


async def test_sandbox_shows_proc_read_only(sandbox: Sandbox, code: Path) -> None:
    out = await inside(sandbox, code, "grep ' /proc ' /proc/self/mounts")
    assert " ro," in out


async def test_sandbox_has_no_network_when_it_is_not_allowed(sandbox: Sandbox, code: Path) -> None:
    out = await inside(sandbox, code, "tail -n +3 /proc/net/dev | cut -d: -f1; ls /etc/resolv.conf", network=False)
    assert out.split()[:1] == ["lo"]
    assert len([line for line in out.splitlines() if line.strip() and "resolv" not in line]) == 1


async def test_kill_ends_everything_in_the_sandbox(sandbox: Sandbox, code: Path) -> None:
    caller = await Caller.of(code, sandbox=sandbox)
    caller.send(b"child /tmp/child")
    family = await eventually(lambda: grown_up(descendants(caller.worker.pid)), within=PATIENCE)
    await caller.worker.kill()
    assert not family & set(os.listdir("/proc"))


async def test_probe_says_why_when_bubblewrap_does_not_work(tmp_path: Path) -> None:
    with pytest.raises(errors.UnavailableError, match="does not work here"):
        await choice.probe(tmp_path, program="/bin/false")


async def test_required_refuses_to_start_when_there_is_no_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.PermanentError, match="FNBUS_ISOLATION=required, but bubblewrap is not installed"):
        await choice.choose("required", state=tmp_path)


async def test_auto_falls_back_and_says_so_when_there_is_no_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    chosen = await choice.choose("auto", state=tmp_path)
    assert chosen.name == "process"
    assert len(caplog.records) == 1
    assert "without a sandbox" in caplog.text


def descendants(pid: int) -> set[str]:
    """Return a process, its children, theirs, and so on."""
    parents = {each: parent(each) for each in os.listdir("/proc") if each.isdigit()}
    family = {str(pid)}
    while True:
        more = {each for each, above in parents.items() if above in family} - family
        if not more:
            return family
        family |= more


def grown_up(family: set[str]) -> set[str]:
    """Return the family once it has four: bwrap, its process 1, the guest, and the guest's child."""
    return family if len(family) >= 4 else set()


def parent(pid: str) -> str:
    """Return a process's parent."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[1]


@pytest.mark.parametrize(
    ("returncode", "text"),
    [(0, "exit code 0"), (7, "exit code 7"), (137, "signal 9"), (255, "exit code 255"), (-9, "signal 9")],
)
async def test_end_of_a_guest_is_told_in_words(sandbox: Sandbox, returncode: int, text: str) -> None:
    assert sandbox.exit_text(returncode) == f"worker ended with {text}"
