"""The records of a synchronous call: what the gateway asks for and what an executor answers.

Heads and bodies are opaque here (pass-through): the gateway encodes a head as JSON once, the guest decodes it once, and
the executor moves both as bytes.
"""

from enum import StrEnum

from libs.messages.codec import record

PROXY_HEAD = b'{"proxy":true}'
"""Head of an ANSWER that is not for the caller: its body (a JSON object) says what the gateway is to fetch for it instead.
Every other answer's head is a list, so that nobody who handles those has to look for it."""


class ReplyKind(StrEnum):
    """What a reply means for the caller."""

    ANSWER = "answer"
    """The guest answered; status, head and body are its own."""
    STREAM = "stream"
    """The guest has begun to answer; status and head are its own, `body` is the first piece, and `StreamPiece`s follow."""
    BUSY = "busy"
    """The executor had no room and ran nothing; another may be asked."""
    WHOLE = "whole"
    """The handler takes the request's body as a whole, and has not been run; the call may be sent again with it."""
    FAILURE = "failure"
    """There is no answer from the guest; `code` says why."""


class FailureCode(StrEnum):
    """Why a run has no answer of its own."""

    NONE = ""
    """There is an answer."""
    HANDLER_ERROR = "handler_error"
    """The handler raised; the answer's body names the error."""
    LOAD_ERROR = "load_error"
    """The code could not be loaded; the answer's body names file and line."""
    TIMEOUT = "timeout"
    """The budget was spent; the worker is dead."""
    CRASH = "crash"
    """The worker ended before it answered."""
    INVALID_RESPONSE = "invalid_response"
    """The handler returned something that is not a response."""
    CANCELED = "canceled"
    """The caller went away or the job was canceled; the worker is dead."""
    UNKNOWN_VERSION = "unknown_version"
    """The executor does not know the version that was asked for."""
    UNAVAILABLE = "unavailable"
    """The runtime, the bundle or the sandbox could not be had."""
    TOO_LARGE = "too_large"
    """The answer is larger than the platform's cap."""
    MALFORMED = "malformed"
    """The invocation could not be parsed."""
    MEMORY_LIMIT = "memory_limit"
    """The worker was killed because it used more memory than its function may."""
    CPU_LIMIT = "cpu_limit"
    """The worker was killed because the call used more processor time than its function may."""
    PROCESS_LIMIT = "process_limit"
    """The worker was killed because it had more processes and threads than its function may."""


@record()
class Invocation:
    """One request to run a function, with one deadline."""

    id: str
    """Request id, as in `X-Request-ID`."""
    namespace: str
    function: str
    runtime: str
    version: str
    """Label of the version, for records and logs."""
    digest: str
    """Digest of the version to run (`catalog.VersionEntry.digest`)."""
    budget_ms: int
    """Milliseconds left for queue wait, cold start and handler, counted from receipt."""
    head: bytes
    """Request head as JSON, see `heads`."""
    body: bytes = b""
    body_ref: str = ""
    """Key in the body store, when the body is too large for a message."""
    streams: bool = False
    """Whether the caller takes a streamed answer; otherwise the executor collects it and answers whole."""
    admit_us: int = 0
    """Microseconds for which it waited at the gateway for a slot of its function: for the record, and no part of the budget."""
    body_from: str = ""
    """Where the body's pieces are asked for (`BodyCredit`), when it comes by and by; there is no other body then."""


@record()
class Reply:
    """What came of an invocation."""

    kind: ReplyKind
    executor: str
    """Id of the executor that answers."""
    free_slots: int = 0
    """How many more calls it could take when it answered."""
    status: int = 0
    """HTTP status of the answer; 0 without one."""
    head: bytes = b""
    """Answer head as JSON: a list of [name, value] pairs."""
    body: bytes = b""
    body_ref: str = ""
    code: FailureCode = FailureCode.NONE
    message: str = ""
    """For people: what failed, in one sentence."""
    stage: str = ""
    """For a timeout: the stage that spent the budget (`queue`, `cold`, `run`)."""
    cold: bool = False
    """Whether a worker had to be started for this call."""
    queue_us: int = 0
    """Microseconds spent waiting for a worker."""
    cold_us: int = 0
    """Microseconds spent starting a worker and loading the code."""
    run_us: int = 0
    """Microseconds between handing the call to the worker and its answer."""


@record()
class StreamPiece:
    """A piece of a streamed answer, sent to where its `Reply` went."""

    number: int
    """1 for the first one after the reply, then rising by 1: a gap means that a piece was lost."""
    data: bytes = b""
    end: bool = False
    """The last piece: the answer is complete, unless `code` says that it broke off."""
    code: FailureCode = FailureCode.NONE
    message: str = ""
    run_us: int = 0
    """In the last piece: microseconds between handing the call to the worker and its end."""


@record()
class StreamCredit:
    """The reader of a streamed answer has room for more; sent to the executor that makes it."""

    reply: str
    """Where the pieces go, which tells the call from all others."""
    pieces: int
    """How many more may come."""


@record()
class BodyCredit:
    """A handler reads the body of its request by and by, and has room for more; sent to where the invocation says."""

    executor: str
    """Who runs the call; the pieces go there."""
    pieces: int
    """How many more may come."""


@record()
class BodyPiece:
    """A piece of a request's body, sent to the executor that has asked for it."""

    reply: str
    """Where the call's reply goes, which tells it from all others."""
    number: int
    """1 for the first one, then rising by 1: a gap means that a piece was lost."""
    data: bytes = b""
    end: bool = False
    """The last piece; one that is empty needs no credit."""


@record()
class CancelInvocation:
    """The caller of an invocation went away: its worker is to be killed."""

    id: str
    """Request id; a client may choose it, so it can be that of another's call too."""
    reply: str = ""
    """Where the reply was wanted: which of the calls with that id; empty: all of them."""


@record()
class Heartbeat:
    """What an executor is and how busy, sent every second."""

    executor: str
    runtimes: tuple[str, ...]
    isolation: str
    """`bubblewrap` or `process`."""
    workers: int
    """Worker processes that exist."""
    busy: int
    """Of them, how many run a call."""
    waiting: int
    """Calls that wait for a worker."""
    limit: int
    """How many workers may exist."""
    stopping: bool = False
    """True in the last heartbeat: the executor takes no more calls."""
