"""What the calls of a version get whose dependencies are not there: not yet, or not at all. Pure."""

import orjson

from libs.messages.calls import FailureCode, ReplyKind
from libs.messages.catalog import Resolution
from services.executor.calls.runs import Result

_JSON_HEAD = b'[["content-type","application/json"]]'
_PENDING = "dependencies are being installed; try again in a few seconds"


def refusal(resolution: Resolution) -> Result | None:
    """Return why a version cannot run, None when nothing is missing."""
    match resolution.state:
        case "pending":
            return Result(kind=ReplyKind.FAILURE, code=FailureCode.UNAVAILABLE, message=_PENDING, stage="load", error=_PENDING)
        case "error":
            message = f"dependencies could not be installed: {resolution.message}"
            return Result(
                kind=ReplyKind.ANSWER,
                status=500,
                head=_JSON_HEAD,
                body=orjson.dumps({"error": message}),
                code=FailureCode.LOAD_ERROR,
                message=message.partition("\n")[0],
                stage="load",
                error=message,
            )
        case _:
            return None
