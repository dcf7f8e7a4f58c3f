"""What is answered where no function has the path, kept in step with the catalogue.

A call to a function never gets here. Its way asks two things of this: whether a file goes before functions at its path (a
look-up, and nothing where there are no files), and, when no route matched, whether a home page leads to one.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from libs import errors
from libs.bus import port
from libs.messages import codec, subjects
from libs.messages.catalog import CatalogMeta
from libs.messages.web import AssetIndex, Assets, Home
from services.gateway import requests
from services.gateway.answers import Refusal
from services.gateway.exchange import Exchange
from services.gateway.finish import Answer, page
from services.gateway.front import files, landing
from services.gateway.front.contents import Contents
from services.gateway.front.landing import Listed
from services.gateway.front.site import READS, Found, Site

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5
_NOT_FOUND = Refusal(404, "not found")
_HTML = (b"content-type", b"text/html; charset=utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the operator says of it."""

    home_function: str = ""
    """Function or route that answers at `/`."""
    home_redirect: str = ""
    """Where `/` leads instead."""
    landing_page: bool = True
    """Whether `/` lists the routes when it has no other home."""
    docs: bool = True
    """Whether there are pages that describe the routes."""
    max_asset_bytes: int = 32 * 1024 * 1024
    cache_bytes: int = 64 * 1024 * 1024


class Front:
    """Home pages, static files, the landing page."""

    def __init__(self, bus: port.Bus, terms: Terms, *, listed: Callable[[str], Sequence[Listed]]) -> None:
        """Begin with what the operator says; `follow` brings the rest.

        Args:
            bus: where the store of assets is.
            terms: what the operator says.
            listed: returns the routes that a host (lower case, without port) can call.
        """
        self._bus = bus
        self._terms = terms
        self._listed = listed
        self._own = tuple(
            home
            for home in (Home(path="/", target=terms.home_function), Home(path="/", redirect=terms.home_redirect))
            if home.target or home.redirect
        )
        self.site = Site(self._own)
        self.contents = Contents(bus, room=terms.cache_bytes)
        self._wanted: tuple[tuple[Home, ...], Assets | None] = ((), None)
        self._taken = self._wanted
        self._changed = asyncio.Event()

    @property
    def settled(self) -> bool:
        """Whether what the catalogue says has been taken over."""
        return self._taken == self._wanted

    def take(self, meta: CatalogMeta | None) -> None:
        """Note what the catalogue says of it now."""
        wanted = (meta.homes, meta.assets) if meta is not None else ((), None)
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()

    async def follow(self) -> None:
        """Take over every change, for ever. Until the index of new files is there, the former ones are served."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted = homes, assets = self._wanted
            try:
                index = await self._index(assets) if assets is not None else AssetIndex(files=())
            except errors.FnbusError as error:
                log.warning("static files wait: %s", error, extra={"action": "assets_wait"})
                await asyncio.sleep(_RETRY_SECONDS)
                self._changed.set()
                continue
            self.site = Site((*self._own, *homes), assets, index.files)
            self._taken = wanted

    def serves(self, exchange: Exchange) -> bool:
        """Whether a request for which there is no route has its answer here."""
        if exchange.method not in READS:
            return False
        if exchange.path == "/":
            return True
        return not self.site.empty and (self._redirect(exchange.path) is not None or self._find(exchange) is not None)

    async def answer(self, exchange: Exchange) -> Answer:
        """Return the answer to a request that is served here.

        Raises:
            Refusal: it is not, or its file cannot be had.
        """
        home = self._redirect(exchange.path)
        if home is not None:
            return page(exchange, 302, [(b"location", home.redirect.encode())], b"")
        found = self._find(exchange)
        if found is not None:
            return await self._file(exchange, found)
        host = requests.without_port(requests.first(exchange.headers, "host"))
        listed = self._listed(host) if exchange.path == "/" and self._terms.landing_page else ()
        if not listed:
            raise _NOT_FOUND
        headers = [_HTML, (b"cache-control", b"no-store"), *landing.SECURITY]
        return page(exchange, 200, headers, landing.page(listed, docs=self._terms.docs))

    async def _file(self, exchange: Exchange, found: Found) -> Answer:
        file = found.file
        if found.folder:
            # Relative links of a page mean something else without the slash.
            query: bytes = exchange.scope["query_string"]
            location = exchange.scope["raw_path"] + b"/" + (b"?" + query if query else b"")
            return page(exchange, 307, [(b"location", b"/" + location.lstrip(b"/"))], b"")
        if file.size > self._terms.max_asset_bytes or not file.digest:
            raise Refusal(413, "asset too large")
        plan = files.plan(file, exchange.headers)
        if plan.status not in (200, 206):
            return page(exchange, plan.status, plan.headers, b"")
        try:
            data = await self.contents.get(file.digest)
        except errors.FnbusError as error:
            log.warning("a static file cannot be had: %s", error, extra={"action": "asset_missing", "path": file.path})
            raise Refusal(503, "asset unavailable", (b"retry-after", b"1")) from None
        return page(exchange, plan.status, plan.headers, data[plan.start : plan.end])

    def _find(self, exchange: Exchange) -> Found | None:
        site, headers = self.site, exchange.headers
        return site.find(exchange.path, exchange.scope["raw_path"]) or site.fallback(
            exchange.path, accept=requests.first(headers, "accept"), mode=requests.first(headers, "sec-fetch-mode")
        )

    def _redirect(self, path: str) -> Home | None:
        return next((home for home in self.site.homes.get(path, ()) if home.redirect), None)

    async def _index(self, assets: Assets) -> AssetIndex:
        store = await self._bus.objects(subjects.ASSET_STORE)
        return codec.decode(AssetIndex, await store.get(assets.index))
