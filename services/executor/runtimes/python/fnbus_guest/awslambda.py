"""The style of AWS Lambda: `handler(event, context)` with events of API Gateway, payload version 2.0."""

from __future__ import annotations

from time import monotonic

from .answers import Made, decoded  # noqa: TID252  see the package's docstring
from .jsontext import loads  # noqa: TID252

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .styles import Handler, Surroundings  # noqa: TID252


class Context:
    """The second argument of a Lambda."""

    client_context = None
    identity = None

    def __init__(self, request: dict[str, Any], around: Surroundings) -> None:
        """Describe the call that begins now."""
        self.aws_request_id = self.awsRequestId = request["id"]
        self.function_name = self.functionName = around.name
        self.function_version = self.functionVersion = around.version
        self.memory_limit_in_mb = self.memoryLimitInMB = str(around.memory_mb)
        self.invoked_function_arn = self.invokedFunctionArn = f"arn:fnbus:lambda:::function:{around.name}:{around.version}"
        self.log_group_name = self.logGroupName = f"/fnbus/{around.name}"
        self.log_stream_name = self.logStreamName = around.version
        self.fastfn: dict[str, Any] = request["context"]
        self._ends = monotonic() + self.fastfn["timeout_ms"] / 1000

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the call is ended."""
        return max(0, int((self._ends - monotonic()) * 1000))

    getRemainingTimeInMillis = get_remaining_time_in_millis  # noqa: N815  AWS's name


def bind(function: Callable[..., Any], around: Surroundings) -> Handler:
    """Return a handler of requests that calls `function` as AWS would."""

    def handle(head: bytes, body: bytes) -> Any:
        request = loads(head)
        value = function(event_of(request, body), Context(request, around))
        return _awaited(value) if hasattr(value, "__await__") else _made(value)

    return handle


async def _awaited(value: Any) -> Any:
    return _made(await value)


def event_of(request: dict[str, Any], body: bytes) -> dict[str, Any]:
    """Return the event of API Gateway for a request head and its body."""
    path, _, query = request["raw_path"].partition("?")
    headers = {name: _joined(value) for name, value in request["headers"].items()}
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{request['method']} {request['path']}",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "fnbus",
            "domainName": headers.get("host", ""),
            "requestId": request["id"],
            "routeKey": f"{request['method']} {request['path']}",
            "stage": "$default",
            "time": _time(request["ts"]),
            "timeEpoch": request["ts"],
            "http": {
                "method": request["method"],
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": request["client"].get("ip", ""),
                "userAgent": request["client"].get("ua", ""),
            },
        },
        "isBase64Encoded": False,
    }
    cookies = request["headers"].get("cookie")
    if cookies:
        text = cookies if isinstance(cookies, str) else "; ".join(cookies)
        event["cookies"] = [pair.strip() for pair in text.split(";") if pair.strip()]
    if request["query"]:
        event["queryStringParameters"] = {name: _joined(value) for name, value in request["query"].items()}
    if request["params"]:
        event["pathParameters"] = request["params"]
    if body:
        event["body"], event["isBase64Encoded"] = _text(body)
    return event


def _joined(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(_joined(each) for each in value)  # pyright: ignore[reportUnknownVariableType]
    return "" if value is True else str(value)


def _text(body: bytes) -> tuple[str, bool]:
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        from binascii import b2a_base64

        return b2a_base64(body, newline=False).decode(), True


def _time(ts: int) -> str:
    from time import gmtime, strftime

    return strftime("%d/%b/%Y:%H:%M:%S +0000", gmtime(ts / 1000))


def _made(value: Any) -> Any:
    """Return what a Lambda returned as an answer; without a status it is one as it stands, as API Gateway has it."""
    if isinstance(value, dict) and "statusCode" in value:
        return _from_envelope(value)  # pyright: ignore[reportUnknownArgumentType]
    return value  # pyright: ignore[reportUnknownVariableType]


def _from_envelope(answer: dict[str, Any]) -> Made:
    headers: dict[str, Any] = dict(answer.get("headers") or {})
    several: dict[str, Any] = answer.get("multiValueHeaders") or {}
    for name, values in several.items():
        for single in [each for each in headers if each.lower() == name.lower()]:
            del headers[single]
        headers[name] = values
    pairs = list(headers.items())
    pairs += [("set-cookie", cookie) for cookie in answer.get("cookies") or ()]
    body = answer.get("body")
    return Made(answer["statusCode"], pairs, decoded(body) if answer.get("isBase64Encoded") else body)
