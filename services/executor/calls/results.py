"""What came of a run, from what its guest has sent or why it has ended: the way from frames and verdicts to a `Result`. Pure.

A guest is not to be trusted: what it says of itself is checked here, and what it used is not its to say.
"""

import re

import orjson

from libs.messages.calls import FailureCode, ReplyKind
from services.executor.calls.runs import Result, Run, Verdict
from services.executor.calls.streams import Flow
from services.executor.workers.frames import Frame, FrameType
from services.executor.workers.output import NO_OUTPUT, Output

_ERROR = int(FrameType.ERROR)
_JSON_HEAD = b'[["content-type","application/json"]]'
_MOST_HEAD_BYTES = 64 * 1024
_LOWEST_STATUS, _HIGHEST_STATUS = 100, 599
_TOLD_OUTPUT_BYTES = 4096
"""Of each stream, in a header."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")
_SAID_BY_GUESTS = frozenset({
    FailureCode.HANDLER_ERROR, FailureCode.LOAD_ERROR, FailureCode.INVALID_RESPONSE, FailureCode.MEMORY_LIMIT,
})  # fmt: skip
"""What a guest may say of itself. PHP notices by itself that it has used its memory up, before anybody else does."""
_PLATFORMS_OWN = (FailureCode.INVALID_RESPONSE, FailureCode.MEMORY_LIMIT)
"""What the caller is told in the platform's words."""


def of_frame(frame: Frame, output: Output, *, max_body: int, cpu_us: int = 0, peak_kib: int = 0) -> Result:
    """Return what a guest's ANSWER or ERROR means. What the call used is not the guest's to tell."""
    if len(frame.body) > max_body:
        return too_large(output, max_body=max_body)
    if frame.type == _ERROR:
        return _of_error(frame, output)._replace(cpu_us=cpu_us, peak_kib=peak_kib)
    fault = head_fault(frame)
    if fault:
        return invalid(fault, output)._replace(cpu_us=cpu_us, peak_kib=peak_kib)
    return Result(status=frame.status, head=frame.head, body=frame.body, cpu_us=cpu_us, peak_kib=peak_kib, output=output)


def of_last(run: Run, frame: Frame, output: Output, *, cpu_us: int = 0, peak_kib: int = 0) -> Result:
    """Return what a run came to by the frame that ends its answer."""
    flow = run.flow
    if flow is None:
        return of_frame(frame, output, max_body=run.max_body, cpu_us=cpu_us, peak_kib=peak_kib)
    if frame.type == _ERROR:
        result = _of_error(frame, output)
        if flow.relayed:
            result = broken_off(flow, result)
    elif flow.relayed:
        result = Result(ReplyKind.STREAM, flow.status, output=output, streamed_bytes=flow.size)
    else:
        result = Result(status=flow.status, head=flow.head, body=b"".join(flow.pieces), output=output)
    return result._replace(cpu_us=cpu_us, peak_kib=peak_kib)


def with_output(result: Result) -> Result:
    """Return a result whose answer has what was printed among its headers, for versions that ask for that."""
    head = result.head
    if result.kind is not ReplyKind.ANSWER or not head.startswith(b"[") or not head.endswith(b"]"):
        return result
    pairs = [
        [name, _UNPRINTABLE.sub(" ", text.encode()[:_TOLD_OUTPUT_BYTES].decode(errors="ignore")).strip()]
        for name, text in (("x-fn-stdout", result.output.stdout), ("x-fn-stderr", result.output.stderr))
        if text
    ]
    if not pairs:
        return result
    comma = b"" if head == b"[]" else b","
    return result._replace(head=head[:-1] + comma + orjson.dumps(pairs)[1:])


def broken_off(flow: Flow, result: Result) -> Result:
    """Return what a failure means once a streamed answer has begun: nothing of it can be taken back."""
    return result._replace(kind=ReplyKind.STREAM, status=flow.status, head=b"", body=b"", streamed_bytes=flow.size)


def head_fault(frame: Frame) -> str:
    """Return what is wrong with the status or the head of an ANSWER or START; empty when nothing is."""
    if not _LOWEST_STATUS <= frame.status <= _HIGHEST_STATUS:
        return f"status {frame.status} is not one"
    if len(frame.head) > _MOST_HEAD_BYTES:
        return f"the answer's headers have {len(frame.head)} bytes, at most {_MOST_HEAD_BYTES}"
    return ""


def invalid(message: str, output: Output) -> Result:
    """Return what an answer that is none means."""
    return Result(kind=ReplyKind.FAILURE, code=FailureCode.INVALID_RESPONSE, message=message, error=message, output=output)


def too_large(output: Output, *, max_body: int) -> Result:
    """Return what an answer beyond the platform's cap means."""
    message = f"the answer is larger than {max_body} bytes"
    return Result(kind=ReplyKind.FAILURE, code=FailureCode.TOO_LARGE, message=message, error=message, output=output)


def unread() -> Result:
    """Return what is told of a run whose handler takes its body as a whole, and was therefore not run."""
    return Result(kind=ReplyKind.WHOLE)


def of_verdict(verdict: Verdict, output: Output = NO_OUTPUT) -> Result:
    """Return what a run without an answer means."""
    return Result(
        kind=verdict.kind, code=verdict.code, message=verdict.message, stage=verdict.stage, error=verdict.message, output=output
    )


def _of_error(frame: Frame, output: Output) -> Result:
    code, error = _explained(frame.head)
    failed = code in _PLATFORMS_OWN
    return Result(
        kind=ReplyKind.FAILURE if failed else ReplyKind.ANSWER,
        status=0 if failed else frame.status,
        head=b"" if failed else _JSON_HEAD,
        body=b"" if failed else frame.body,
        code=code,
        message=error.partition("\n")[0],
        error=error,
        output=output,
    )


def _explained(head: bytes) -> tuple[FailureCode, str]:
    """Return the code and the text for the owner that an ERROR's head holds; the guest is not to be trusted."""
    try:
        found = orjson.loads(head)
        code = FailureCode(found["code"])
        if code not in _SAID_BY_GUESTS:
            code = FailureCode.HANDLER_ERROR
        parts = [str(found.get(name) or "") for name in ("type", "message", "stack")]
    except (ValueError, KeyError, TypeError, AttributeError):
        return FailureCode.HANDLER_ERROR, ""
    title = ": ".join(part for part in parts[:2] if part)
    return code, f"{title}\n{parts[2]}" if parts[2] else title
