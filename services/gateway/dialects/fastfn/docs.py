"""`/openapi.json` and the page that shows it.

The part that is about functions is made once for each state of the catalogue, in a thread: with thousands of functions it
takes as long as hundreds of calls do. What differs from one request to the next is the address of the server alone.
"""

import asyncio
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import requests
from services.gateway.answers import Refusal
from services.gateway.catalogue import Catalogue
from services.gateway.dialects.fastfn.shapes import Handler
from services.gateway.openapi import control, document, page
from services.gateway.requests import Origin

_INFO = {"title": "fastfn API", "version": "1.0.0"}
_FUNCTIONS = {"name": document.TAG, "description": "Functions, by their public routes."}
_INTERNAL = {"name": control.TAG, "description": "The platform's own endpoints."}


class Docs:
    """What is served to readers."""

    def __init__(
        self, *, catalogue: Catalogue, origin: Origin, enabled: bool, include_internal: bool, public_base_url: str
    ) -> None:
        """Make it.

        Args:
            catalogue: whose routes are told.
            origin: tells how a request reached the gateway.
            enabled: whether anything is served at all.
            include_internal: whether the platform's own endpoints are told as well.
            public_base_url: where clients reach the gateway; empty: where the request did.
        """
        self._catalogue = catalogue
        self._origin = origin
        self._enabled = enabled
        self._include_internal = include_internal
        self._public_base_url = public_base_url.rstrip("/")
        self._internal: dict[str, Any] = {}
        self._made = asyncio.Lock()
        self._made_of = -1
        self._paths = self._components = orjson.Fragment(b"{}")

    def tell(self, endpoints: Iterable[tuple[str, Iterable[str]]]) -> None:
        """Take over which endpoints the platform has: path templates and methods."""
        self._internal = control.paths(endpoints) if self._include_internal else {}
        self._made_of = -1

    def openapi(self) -> Handler:
        """Return the endpoint that gives the document."""

        async def endpoint(request: Request) -> Response:
            self.require()
            await self._make()
            whole = {
                "openapi": "3.1.0",
                "info": _INFO,
                "servers": [{"url": self._base_url(request)}],
                "tags": [_FUNCTIONS, *((_INTERNAL,) if self._include_internal else ())],
                "paths": self._paths,
                "components": self._components,
            }
            return Response(orjson.dumps(whole), media_type="application/json", headers={"cache-control": "no-cache"})

        return endpoint

    def page(self, *, files: str, document: str) -> Handler:
        """Return the endpoint that shows the document; it is told where files and document are, relative to it."""
        shown = page.page(files=files, document=document)
        headers = page.headers(self._public_origin())

        async def endpoint(_: Request) -> Response:
            self.require()
            return Response(shown, media_type="text/html; charset=utf-8", headers=headers)

        return endpoint

    def file(self) -> Handler:
        """Return the endpoint that gives the files of that page."""

        async def endpoint(request: Request) -> Response:
            self.require()
            found = await asyncio.to_thread(page.file, request.path_params["id"])
            if found is None:
                raise Refusal(404, "not found")
            headers = {"etag": found.etag, "cache-control": "max-age=3600", "x-content-type-options": "nosniff"}
            if request.headers.get("if-none-match") == found.etag:
                return Response(status_code=304, headers=headers)
            return Response(found.data, media_type=found.kind, headers=headers)

        return endpoint

    def require(self) -> None:
        """Do nothing while documents are served.

        Raises:
            Refusal: 404, they are not.
        """
        if not self._enabled:
            raise Refusal(404, "docs disabled")

    def _base_url(self, request: Request) -> str:
        if self._public_base_url:
            return self._public_base_url
        scope = request.scope
        headers = requests.headers_of(scope["headers"])
        return self._origin.base_url(scope["client"], headers, scheme=scope["scheme"]) or "/"

    def _public_origin(self) -> str:
        parts = urlsplit(self._public_base_url)
        return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") and parts.netloc else ""

    async def _make(self) -> None:
        """Bring the document to the state that the catalogue has now."""
        wanted = self._catalogue.changes
        async with self._made:
            if self._made_of >= wanted:
                return
            made_of, table = self._catalogue.changes, self._catalogue.table
            routes, conflicts = list(table.patterns()), table.conflicts
            self._paths, self._components = await asyncio.to_thread(self._build, routes, conflicts)
            self._made_of = made_of

    def _build(self, routes: Any, conflicts: frozenset[str]) -> tuple[orjson.Fragment, orjson.Fragment]:
        made = document.build(routes, conflicts=conflicts)
        components = {"schemas": {"Error": document.ERROR_SCHEMA} | made.schemas, "responses": document.RESPONSES}
        return orjson.Fragment(orjson.dumps(made.paths | self._internal)), orjson.Fragment(orjson.dumps(components))
