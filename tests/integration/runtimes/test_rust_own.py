"""What is Rust's own: kinds of handlers, panics, and how a program is built."""

import asyncio
import shutil
from pathlib import Path

import pytest

from libs import errors
from libs.testing import builds
from libs.testing.guests import ERROR, LOADED, Answered, Bench, Sources
from services.executor.profile import Profile
from services.executor.runtimes.base import Runtime
from services.executor.runtimes.rust import RustRuntime, toolchain

pytestmark = pytest.mark.parametrize("runtime", ["rust"], indirect=True)

USES = "use serde_json::{json, Value};\n"


@pytest.mark.parametrize(
    "source",
    [
        "pub fn handler(_: Value) -> Value { json!('x'.to_string()) }",
        "pub fn handler(_: Value) -> String { 'x'.into() }",
        'pub fn handler(_: Value) -> Option<&\'static str> { Some("x") }',
        'pub fn handler(_: Value) -> Result<Value, String> { Ok(json!("x")) }',
        'pub fn handler(_: Value) -> Result<&\'static str, Box<dyn std::error::Error + Send + Sync>> { Ok("x") }',
        'pub async fn handler(_: Value) -> Value { json!("x") }',
        'pub async fn handler(_: Value) -> Result<String, std::fmt::Error> { Ok("x".into()) }',
    ],
)
def test_a_handler_may_return_what_becomes_a_value(answered: Answered, source: str) -> None:
    assert answered({"rust": f"#![allow(unused)]\n{USES}{source}\n"}).text == "x"


def test_an_async_handler_sleeps_until_it_is_woken(answered: Answered) -> None:
    source = """
use std::{future::poll_fn, sync::atomic::{AtomicBool, Ordering}, sync::Arc, task::Poll, thread, time::Duration};
pub async fn handler(_: serde_json::Value) -> i32 {
    let (done, mut started, mut polls) = (Arc::new(AtomicBool::new(false)), false, 0);
    poll_fn(move |context| {
        polls += 1;
        if done.load(Ordering::Acquire) { return Poll::Ready(polls); }
        if !started {
            started = true;
            let (done, waker) = (done.clone(), context.waker().clone());
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                done.store(true, Ordering::Release);
                waker.wake()
            });
        }
        Poll::Pending
    }).await
}
"""
    assert 2 <= int(answered({"rust": source}).text) <= 4  # a thread may be woken for nothing now and then


def test_a_panic_is_answered_and_told_in_the_log(bench: Bench) -> None:
    guest = bench.loaded(
        {"rust": f'{USES}pub fn handler(e: Value) -> Value {{\n    e["x"].as_str().expect("no x").into()\n}}\n'}
    )
    for _ in range(2):
        answer = guest.call()
        assert (answer.type, answer.status, answer.failure["message"]) == (ERROR, 500, "no x")
        assert answer.failure["type"] == "panic"
        assert answer.failure["stack"].startswith("panicked at handler.rs:3: no x")
    assert "panicked at handler.rs:3: no x" in guest.stderr


def test_fields_of_an_answer_stay_in_their_order(answered: Answered) -> None:
    assert (
        answered({"rust": f'{USES}pub fn handler(_: Value) -> Value {{ json!({{"b": 1, "a": 2}}) }}\n'}).text == '{"b":1,"a":2}'
    )


def test_code_that_does_not_compile_is_told_with_file_and_line(bench: Bench) -> None:
    with pytest.raises(AssertionError, match=r"handler\.rs:2:"):
        bench.write({"rust": f"{USES}pub fn handler(_: Value) -> Value {{ 1 }}\n"})


def test_code_that_was_not_built_is_refused(bench: Bench) -> None:
    root, entrypoint = bench.write({"rust": "pub fn handler(_: serde_json::Value) -> i32 { 1 }\n"})
    shutil.rmtree(root / ".rust-build")
    guest = bench.start()
    answer = guest.load(root, entrypoint)
    assert (answer.type, answer.failure["code"]) == (ERROR, "load_error")
    assert "has not been built" in answer.failure["message"]
    assert guest.call().failure["message"] == "no code is loaded"


def test_a_root_with_unusual_characters_is_found(bench: Bench, tmp_path: Path) -> None:
    root, entrypoint = bench.write({"rust": "pub fn handler(_: serde_json::Value) -> i32 { 1 }\n"})
    odd = tmp_path / 'größe "root" \\ x'
    root.rename(odd)
    guest = bench.start()
    assert guest.load(odd, entrypoint, env={"root": "/elsewhere"}).type == LOADED
    assert guest.call().text == "1"


def test_a_plan_uses_the_compiler_alone_unless_crates_are_declared(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "handler.rs").write_text("pub fn handler(_: serde_json::Value) -> i32 { 1 }\n")
    (tmp_path / "README.md").write_text("text")
    plan = runtime.build(tmp_path, "handler.rs")
    assert plan is not None
    assert (plan.mount, plan.inputs) == (".rust-build", ("handler.rs",))
    assert plan.tool.startswith("rustc ")
    (tmp_path / "Cargo.toml").write_text('[package]\nname = "x"\nedition = "2024"\n[dependencies]\nserde_json = "1"\n')
    plan = runtime.build(tmp_path, "handler.rs")
    assert plan is not None
    assert plan.tool.startswith("rustc ")
    assert "--edition 2024" in plan.argv[-1]
    (tmp_path / "Cargo.toml").write_text('[package]\nname = "x"\n[dependencies]\nown = { path = "own" }\n')
    (tmp_path / "Cargo.lock").write_text("version = 4\n")
    plan = runtime.build(tmp_path, "handler.rs")
    assert plan is not None
    assert plan.tool.startswith("cargo ")
    assert set(plan.inputs) == {"Cargo.lock", "Cargo.toml", "handler.rs"}
    assert b'"path" = "../own"' in dict(plan.files)[".fnbus/Cargo.toml"]


def test_all_files_decide_when_a_source_includes_others(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "handler.rs").write_text('const T: &str = include_str!("t.txt");\n')
    (tmp_path / "t.txt").write_text("t")
    plan = runtime.build(tmp_path, "handler.rs")
    assert plan is not None
    assert plan.inputs == ("handler.rs", "t.txt")


def test_a_manifest_that_is_not_toml_is_refused(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "handler.rs").touch()
    (tmp_path / "Cargo.toml").write_text("[")
    with pytest.raises(errors.PermanentError, match=r"Cargo\.toml: "):
        runtime.build(tmp_path, "handler.rs")


def test_cargo_builds_what_the_compiler_would(runtime: Runtime, bench: Bench) -> None:
    """With a crate of the function's own folder, so that no more comes from the network than what the guest needs."""
    sources: Sources = {
        "rust": {
            "handler.rs": "pub fn handler(_: serde_json::Value) -> String { own::text() }\n",
            "Cargo.toml": '[package]\nname = "x"\nedition = "2021"\n[dependencies]\nown = { path = "own" }\n',
            "own/Cargo.toml": '[package]\nname = "own"\nversion = "0.1.0"\nedition = "2021"\n',
            "own/src/lib.rs": 'pub fn text() -> String { "own".into() }\n',
        }
    }
    assert runtime.name == "rust"
    assert bench.loaded(sources).call().text == "own"


@pytest.mark.usefixtures("runtime")
async def test_a_machine_without_a_compiler_is_told_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    runtime = RustRuntime(tmp_path / "cache")
    availability = await runtime.probe()
    assert not availability.present
    assert availability.hint == toolchain.HINT
    with pytest.raises(errors.UnavailableError, match="not present"):
        runtime.command(Profile())


def test_the_compiler_is_not_needed_for_what_is_in_the_cache(runtime: Runtime) -> None:
    again = RustRuntime()
    asyncio.run(again.probe())
    assert again.command(Profile()) == runtime.command(Profile())


@pytest.mark.usefixtures("runtime")
def test_a_build_is_kept_by_what_went_into_it(tmp_path: Path) -> None:
    runtime = RustRuntime(optimised=False)
    asyncio.run(runtime.probe())
    for name in ("a", "b"):
        root = tmp_path / name
        root.mkdir()
        (root / "handler.rs").write_text("pub fn handler(_: serde_json::Value) -> i32 { 1 }\n")
        plan = runtime.build(root, "handler.rs")
        assert plan is not None
        builds.build(plan, root)
    assert (tmp_path / "a/.rust-build/handler").read_bytes() == (tmp_path / "b/.rust-build/handler").read_bytes()
