"""What is Deno's own: TypeScript, permissions, what is kept from user code, and what a build leaves behind."""

import asyncio
import json
from pathlib import Path

import pytest

from libs.testing.guests import Answered, Bench, Sources
from services.executor.profile import Profile
from services.executor.runtimes.base import Runtime

pytestmark = pytest.mark.parametrize("runtime", ["deno"], indirect=True)

TRIES = (
    "const tries: Record<string, () => unknown> = {\n"
    "  ffi: () => Deno.dlopen('libc.so.6', {}),\n"
    "  run: () => new Deno.Command('true').outputSync().success,\n"
    "  read: () => Deno.readTextFileSync('/etc/hostname'),\n"
    "  write: () => Deno.writeTextFileSync('/etc/fnbus', ''),\n"
    "  tmp: () => Deno.removeSync(Deno.makeTempFileSync({ dir: '/tmp' })) ?? true,\n"
    "  net: () => Deno.listen({ port: 0, hostname: '127.0.0.1' }).close() ?? true,\n"
    "};\n"
    "export const handler = () => Object.fromEntries(Object.entries(tries).map(([name, go]) => {\n"
    "  try { return [name, go()]; } catch (error) { return [name, (error as Error).name]; }\n"
    "}));\n"
)


def refused(runtime: Runtime, folder: Path, profile: Profile) -> dict[str, object]:
    asyncio.run(runtime.probe())
    bench = Bench(runtime="deno", argv=runtime.command(profile).argv, folder=folder)
    try:
        return bench.loaded({"deno": TRIES}).call().json()
    finally:
        bench.close()


def test_user_code_may_do_what_the_profile_allows(runtime: Runtime, tmp_path: Path) -> None:
    told = refused(runtime, tmp_path, Profile(network=True, run=True))
    assert told == {"ffi": "NotCapable", "run": True, "read": "NotCapable", "write": "NotCapable", "tmp": True, "net": True}


def test_user_code_may_not_do_what_the_profile_forbids(runtime: Runtime, tmp_path: Path) -> None:
    told = refused(runtime, tmp_path, Profile(network=False, run=False))
    assert {name for name, outcome in told.items() if outcome == "NotCapable"} == {"ffi", "run", "read", "write", "net"}


def test_user_code_sees_only_its_own_environment(runtime: Runtime, tmp_path: Path) -> None:
    command = runtime.command(Profile())
    bench = Bench(runtime="deno", argv=command.argv, folder=tmp_path)
    guest = bench.start(**dict(command.env))
    root, entry = bench.write({"deno": "export const handler = () => Deno.env.toObject();\n"})
    guest.load(root, entry, env={"WORD": "ü"})
    assert guest.call().json() == {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "WORD": "ü"}
    bench.close()


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("handler.ts", "enum Word { x = 'x' }\nexport const handler = (): Word => Word.x;\n"),
        ("handler.tsx", "export default (r: Request): Response => new Response('x');\n"),
        ("handler.mjs", "const text = await Promise.resolve('x');\nexport const handler = () => text;\n"),
        ("handler.cjs", "exports.handler = () => 'x';\n"),
        ("get.[id].ts", "export default (r: Request, { params }: { params: object }): Response => new Response('x');\n"),
    ],
)
def test_a_handler_is_found_in_any_kind_of_module(answered: Answered, name: str, source: str) -> None:
    assert answered({"deno": {name: source}}).text == "x"


def test_what_a_build_made_is_loaded_instead_of_the_entry_file(answered: Answered) -> None:
    sources: Sources = {
        "deno": {
            "handler.ts": "import 'npm:not-there';\nexport const handler = () => 'source';\n",
            ".deno-build/handler.js": "export const handler = () => 'built';\n",
        }
    }
    assert answered(sources).text == "built"


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("const a: number = 1;\nconst b: = 2;\n", "handler.ts:2: "),
        ("\nthrow new RangeError('no');\n", "handler.ts:2: RangeError: no"),
        ("import './nope.ts';\n", "handler.ts:1: "),
    ],
)
def test_a_load_error_names_file_and_line(bench: Bench, source: str, place: str) -> None:
    assert json.loads(bench.refused({"deno": source}).body)["error"].startswith(place)
