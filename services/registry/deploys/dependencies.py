"""What versions need built before they can run: asked of the executors, and remembered until it is stored.

Whether code may need anything is decided here by the names of its files and, where these do not tell, by what they hold; what
it needs in fact is the language's matter and decided by an executor. A question goes to any executor, and further ones to
the one that builds. Nothing waits for an answer: whoever needs one looks again when it is told that there is news. An executor
that cannot be reached is asked again, for ever, with pauses; a build that failed is not tried again until the code changes or
this registry starts anew.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import orjson

from libs import errors
from libs.bus import rpc
from libs.bus.port import Bus
from libs.messages.builds import BuildReply, BuildRequest, build_subject
from libs.messages.catalog import Bundle

log = logging.getLogger(__name__)

_MANIFESTS = {
    "python": ("requirements.txt", "pyproject.toml"),
    "node": ("package.json",),
    "deno": ("package.json", "deno.json", "deno.jsonc", "import_map.json"),
    "php": ("composer.json",),
}
_ALWAYS = frozenset({"rust"})
"""Languages whose code is always built."""
_ENDINGS = {"python": (".py",), "deno": (".ts", ".js", ".mjs", ".mts", ".tsx", ".jsx"), "node": ()}
_REQUIREMENTS = re.compile(rb"^\s*#\s*@requirements\b", re.MULTILINE)
_REMOTE = re.compile(rb"""["'](?:npm:|jsr:|https?://)""")
_NAMED = ("dependencies", "optionalDependencies", "workspaces", "imports", "require")
_AT_ONCE = 16
_REPLY_SECONDS = 15.0
"""An executor answers an ask in less, whatever it builds."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is built: the code of a version, whoever's it is."""

    runtime: str
    bundle: str
    entrypoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """For whom it is built, for people."""

    namespace: str
    function: str
    version: str


@dataclass(slots=True)
class _Question:
    """A subject that executors are asked about."""

    task: asyncio.Task[None]
    outcome: BuildReply | None = field(default=None)


class Dependencies:
    """Asks executors, and knows their answers."""

    def __init__(self, *, bus: Bus, retry_seconds: float = 0.25, longest_pause: float = 5.0) -> None:
        """Make it; `run` starts it.

        Args:
            bus: where executors are.
            retry_seconds: first pause after an executor could not be reached; it doubles up to `longest_pause`.
            longest_pause: the last one.
        """
        self._bus = bus
        self._retry_seconds = retry_seconds
        self._longest_pause = longest_pause
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._questions: dict[Subject, _Question] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._on_news: Callable[[], None] = lambda: None

    async def run(self, on_news: Callable[[], None]) -> None:
        """Ask for ever; call `on_news` whenever an outcome has come."""
        self._on_news = on_news
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            await asyncio.Event().wait()

    def outcome(self, subject: Subject, asker: Asker) -> BuildReply | None:
        """Return what came of a build; None while that is not known: then somebody is asked, and news will come."""
        question = self._questions.get(subject)
        if question is None and self._tasks is not None:
            task = self._tasks.create_task(self._ask(subject, asker), name=f"build of {asker.function}")
            question = self._questions[subject] = _Question(task)
        return question.outcome if question is not None else None

    def forget_all_but(self, subjects: Collection[Subject]) -> None:
        """Forget what nobody wants to know any more."""
        for subject in self._questions.keys() - subjects:
            self._questions.pop(subject).task.cancel()

    async def _ask(self, subject: Subject, asker: Asker) -> None:
        request = BuildRequest(
            namespace=asker.namespace,
            runtime=subject.runtime,
            function=asker.function,
            version=asker.version,
            bundle=subject.bundle,
            entrypoint=subject.entrypoint,
        )
        reply = await self._final(request)
        self._questions[subject].outcome = reply
        self._on_news()

    async def _final(self, request: BuildRequest) -> BuildReply:
        """Ask until there is an outcome."""
        builder, pause, told = "", self._retry_seconds, False
        while True:
            try:
                async with self._slots:
                    reply = await rpc.call(self._bus, build_subject(builder), request, BuildReply, timeout=_REPLY_SECONDS)
            except errors.FnbusError as error:
                builder = ""
                if not told:
                    told = True
                    text = "no executor builds what %s needs at the moment: %s"
                    log.info(text, request.function, error, extra=_ids(request) | {"action": "build_waits"})
                await asyncio.sleep(pause)
                pause = min(pause * 2, self._longest_pause)
            else:
                if reply.resolution.state != "pending":
                    return reply
                builder, pause = reply.executor, self._retry_seconds


def may_need(runtime: str, entrypoint: str, bundle: Bundle) -> bool:
    """Return whether code may need anything built; an executor knows for certain."""
    if runtime in _ALWAYS:
        return True
    if runtime not in _MANIFESTS:
        return True  # a language that was plugged in: nobody here knows its manifests
    for file in bundle.files:
        name = PurePosixPath(file.path).name
        if name in _MANIFESTS[runtime] and _declares(name, file.data):
            return True
        if runtime == "deno" and name.endswith(_ENDINGS["deno"]) and _REMOTE.search(file.data):
            return True
        if runtime == "python" and file.path == entrypoint and _REQUIREMENTS.search(file.data):
            return True
    return False


def _declares(name: str, data: bytes) -> bool:
    """Return whether a manifest names anything; one that cannot be read is left to the language to complain about."""
    if not name.endswith(".json"):
        return any(line.strip() and not line.strip().startswith(b"#") for line in data.splitlines())
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return True
    return not isinstance(found, dict) or any(found.get(each) for each in _NAMED)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType, reportUnknownArgumentType]


def _ids(request: BuildRequest) -> dict[str, object]:
    return {"namespace": request.namespace, "function": request.function, "runtime": request.runtime}
