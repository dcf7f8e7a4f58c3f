"""What other services may ask the registry: the history of executions, and the audit trail."""

from datetime import UTC, datetime

from libs import errors
from libs.bus import port, rpc
from libs.messages import codec
from libs.messages.audit import AuditList, AuditPage
from libs.messages.executions import Execution, ExecutionGet, ExecutionList, Executions
from libs.storage.port import Document, Store, Where
from services.registry.audit import Audit
from services.registry.history.intake import EXECUTIONS, execution_of

_MOST = 1000
_PAGES = 20
"""How many times `_MOST` executions are looked through for those that failed."""
_FIRST_ERROR_STATUS = 500
_ENVELOPE_BYTES = 4096
"""Room in a reply for what is not an execution."""


class Handlers:
    """Answers requests from the store."""

    def __init__(self, *, bus: port.Bus, store: Store, audit: Audit) -> None:
        self._bus = bus
        self._audit = audit
        self._store = store
        self._ensured = False

    async def serve(self, server: rpc.Server) -> None:
        """Begin to answer.

        Raises:
            port.BusDisconnectedError: the bus cannot be reached.
        """
        await server.serve("executions", ExecutionList, self.executions)
        await server.serve("execution", ExecutionGet, self.execution)
        await server.serve("audit", AuditList, self.audit)

    async def executions(self, request: ExecutionList, _traceparent: str = "") -> Executions:
        """Return the newest executions, as many of those asked for as fit into one message.

        Raises:
            errors.UnavailableError: the store cannot be reached.
        """
        where: list[Where] = []
        if request.function:
            where.append(Where("namespace", "==", request.namespace or "default"))
            where.append(Where("function", "==", request.function))
        elif request.namespace:
            where.append(Where("namespace", "==", request.namespace))
        if request.since_ms > 0:
            where.append(Where("started_at", ">=", datetime.fromtimestamp(request.since_ms / 1000, UTC)))
        limit = min(max(request.limit, 1), _MOST)
        await self._ensure()
        if request.failed:
            found = await self._failed(where, limit)
        else:
            found = await self._newest(where, limit)
        return Executions(executions=tuple(self._fitting(found)))

    async def execution(self, request: ExecutionGet, _traceparent: str = "") -> Execution:
        """Return one execution.

        Raises:
            errors.NotFoundError: there is none of that id, or no longer.
            errors.UnavailableError: the store cannot be reached.
        """
        await self._ensure()
        document = await self._store.get(EXECUTIONS, request.id)
        if document is None:
            raise errors.NotFoundError(f"execution {request.id} not found")
        return execution_of(document)

    async def audit(self, request: AuditList, _traceparent: str = "") -> AuditPage:
        """Return the newest audit records, as many of those asked for as fit into one message.

        Raises:
            errors.UnavailableError: the store cannot be reached.
        """
        return await self._audit.page(request, max_bytes=self._bus.max_payload - _ENVELOPE_BYTES)

    async def _newest(self, where: list[Where], limit: int) -> list[Document]:
        return await self._store.find(EXECUTIONS, where, sort="started_at", descending=True, limit=limit)

    async def _failed(self, where: list[Where], limit: int) -> list[Document]:
        """Return the newest that failed, of those that ran lately: an index of failures would cost all others."""
        found: dict[str, Document] = {}
        page = await self._newest(where, _MOST)
        for _ in range(_PAGES):
            found |= {document["_id"]: document for document in page if _has_failed(document)}
            if len(found) >= limit or len(page) < _MOST:
                break
            page = await self._newest([*where, Where("started_at", "<=", page[-1]["started_at"])], _MOST)
        return [*found.values()][:limit]

    async def _ensure(self) -> None:
        """Requests may come before the store could be reached for the first time."""
        if not self._ensured:
            await self._store.ensure(EXECUTIONS)
            self._ensured = True

    def _fitting(self, found: list[Document]) -> list[Execution]:
        room = self._bus.max_payload - _ENVELOPE_BYTES
        fitting: list[Execution] = []
        for document in found:
            try:
                execution = execution_of(document)
            except codec.MalformedMessageError:
                continue  # a newer registry's
            room -= len(codec.encode(execution))
            if room < 0:
                break
            fitting.append(execution)
        return fitting


def _has_failed(document: Document) -> bool:
    try:
        execution = execution_of(document)
    except codec.MalformedMessageError:
        return False  # a newer registry's
    return bool(execution.code) or execution.status >= _FIRST_ERROR_STATUS
