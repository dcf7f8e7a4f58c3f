"""The command as a newcomer uses it: init, call, deploy to a platform that runs, values, delete, backup."""

import asyncio
import sys
from pathlib import Path

import httpx
import pytest

from libs.testing.wait import eventually
from tests.acceptance.running_dev import environment, running

pytestmark = pytest.mark.timeout(240)


class _Person:
    """Types commands in a folder."""

    def __init__(self, place: Path) -> None:
        self._place = place

    async def types(self, *arguments: str, stdin: str = "", code: int = 0) -> tuple[str, str]:
        """Run `fnbus` with these arguments; return what it printed as result, and what it said."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment() | {"FNBUS_CONFIG": str(self._place / "config.toml")},
            cwd=self._place,
        )
        out, err = await process.communicate(stdin.encode())
        assert process.returncode == code, (out.decode(), err.decode())
        return out.decode(), err.decode()


async def test_newcomer_makes_calls_deploys_and_removes_functions(tmp_path: Path) -> None:
    person = _Person(tmp_path)
    (tmp_path / "served").mkdir()
    async with running(tmp_path / "served", tmp_path / ".fnbus") as dev:
        await person.types("init", "hello")
        assert (tmp_path / "served" / "hello" / "handler.py").exists()
        await dev.says("deployed hello")
        out, _ = await person.types("invoke", "hello", "-q", "name=Ada")
        assert out == '{"message":"Hello Ada, this is Python","params":{}}'

        await person.types("init", "acme/other", "-t", "node", "--path", "mine")
        (tmp_path / "mine" / "get.[id].js").write_text("exports.handler = async (event, { id }) => ({ id });\n")
        out, _ = await person.types("deploy", "mine", "--dry-run")
        assert out.splitlines() == ["+ acme/other/fn.config.json", "+ acme/other/handler.js", "+ get.[id].js"]
        assert not (tmp_path / "served" / "acme").exists()
        await person.types("deploy", "mine")
        assert (await person.types("invoke", "/42"))[0] == '{"id":"42"}'
        assert "this is Node" in (await person.types("invoke", "acme/other"))[0]
        _, err = await person.types("deploy", "mine")
        assert "nothing has changed" in err

        await person.types("env", "set", "acme/other", "COLOUR=blue", "KEY", stdin="hush\n")
        out, _ = await person.types("env", "list", "acme/other")
        assert "blue" in out
        assert "hush" not in out
        out, _ = await person.types("list")
        assert {"acme/other", "hello", "get.[id].js"} <= {line.split()[0] for line in out.splitlines()[1:]}
        await person.types("delete", "acme/other", "--yes")
        _, err = await person.types("show", "acme/other", code=1)
        assert "there is no function acme/other" in err


async def test_backup_of_one_platform_makes_the_functions_of_another(tmp_path: Path) -> None:
    person = _Person(tmp_path)
    (tmp_path / "one" / "shop").mkdir(parents=True)
    (tmp_path / "one" / "shop" / "handler.py").write_text("from inner import TEXT\n\ndef handler(event):\n    return TEXT\n")
    (tmp_path / "one" / "shop" / "inner.py").write_text("TEXT = {'from': 'the backup'}\n")
    (tmp_path / "one" / "shop" / "fn.env.json").write_text('{"KEY": {"value": "hush", "is_secret": true}}')
    async with running(tmp_path / "one", tmp_path / ".one") as dev:
        _, err = await person.types("export", "backup.zip", "--url", dev.url)
        assert "shop/fn.env.json: KEY" in err
        assert "exported 2 files" in err
    assert b"hush" not in (tmp_path / "backup.zip").read_bytes()
    (tmp_path / "two").mkdir()
    async with running(tmp_path / "two", tmp_path / ".two") as dev:
        out, err = await person.types("import", "backup.zip", "--url", dev.url)
        assert out.splitlines() == ["+ shop/handler.py", "+ shop/inner.py"]
        assert "shop/fn.env.json: KEY" in err
        async with httpx.AsyncClient(base_url=dev.url, timeout=60) as client:

            async def check() -> bool:
                answer = await client.get("/shop")
                assert (answer.status_code, answer.text) == (200, '{"from":"the backup"}')
                return True

            await eventually(check, within=60, every=0.1)
        _, err = await person.types("import", "backup.zip", "--url", dev.url)
        assert "nothing has changed" in err
    assert not (tmp_path / "two" / "shop" / "fn.env.json").exists()
