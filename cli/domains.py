"""`fnbus doctor domains`: whether the outside world reaches the functions under a domain."""

import re
import socket
import ssl
from datetime import UTC, datetime, timedelta

import httpx

from cli.checks import Finding, Verdict
from cli.project import Domain

_NAME = re.compile(r"(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}", re.IGNORECASE)
_SECONDS = 10.0
_SOON = timedelta(days=14)
_HTTPS = 443
_REDIRECTS = range(300, 400)
_FAILURES = 500


def look(domain: Domain) -> list[Finding]:
    """Look at a domain from here."""
    if not _NAME.fullmatch(domain.name):
        text = f"{domain.name!r} is no domain: write it as functions.example.com"
        return [Finding(id="domain.format", verdict=Verdict.FAIL, text=text)]
    try:
        addresses = _resolve(domain.name)
    except OSError as error:
        hint = "add an A or AAAA record where the domain is kept"
        return [Finding(id="dns.resolve", verdict=Verdict.FAIL, text=f"{domain.name} leads nowhere: {error}", hint=hint)]
    text = f"{domain.name} leads to {', '.join(addresses)}"
    found = [Finding(id="dns.resolve", verdict=Verdict.OK, text=text, details={"addresses": ",".join(addresses)})]
    if domain.target:
        found.append(_target(domain, addresses))
    return [*found, *_tls(domain.name), *_http(domain)]


def _resolve(name: str) -> list[str]:
    return sorted({str(each[4][0]) for each in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)})


def _target(domain: Domain, addresses: list[str]) -> Finding:
    try:
        wanted = _resolve(domain.target)
    except OSError as error:
        return Finding(id="dns.target", verdict=Verdict.FAIL, text=f"{domain.target} leads nowhere: {error}")
    if set(addresses) & set(wanted):
        return Finding(id="dns.target", verdict=Verdict.OK, text=f"that is {domain.target}")
    hint = f"change the record of {domain.name}; the old one may be remembered for a while"
    text = f"it was to lead to {domain.target} ({', '.join(wanted)})"
    return Finding(id="dns.target", verdict=Verdict.FAIL, text=text, hint=hint)


def _tls(name: str) -> list[Finding]:
    try:
        with (
            socket.create_connection((name, _HTTPS), timeout=_SECONDS) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=name) as secure,
        ):
            certificate = secure.getpeercert() or {}
            version = secure.version() or "TLS"
    except OSError as error:
        hint = "put a reverse proxy with a certificate in front of the gateway"
        return [Finding(id="tls.handshake", verdict=Verdict.FAIL, text=str(error), hint=hint)]
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    left = ends - datetime.now(UTC)
    verdict = Verdict.OK if left > _SOON else Verdict.WARN
    return [
        Finding(id="tls.handshake", verdict=Verdict.OK, text=version),
        Finding(id="tls.expiry", verdict=verdict, text=f"the certificate is good for {left.days} days, until {ends:%Y-%m-%d}"),
    ]


def _http(domain: Domain) -> list[Finding]:
    found: list[Finding] = []
    try:
        answer = httpx.get(f"https://{domain.name}/_fn/health", timeout=_SECONDS)
    except httpx.HTTPError as error:
        text = f"https://{domain.name} does not answer: {error or type(error).__name__}"
        found.append(Finding(id="https.reachability", verdict=Verdict.FAIL, text=text))
    else:
        verdict = Verdict.WARN if answer.status_code >= _FAILURES else Verdict.OK
        found.append(Finding(id="https.reachability", verdict=verdict, text=f"https answers {answer.status_code}"))
    wanted = Verdict.FAIL if domain.enforce_https else Verdict.WARN
    hint = "have the reverse proxy redirect port 80 to https"
    try:
        answer = httpx.get(f"http://{domain.name}/", timeout=_SECONDS)
    except httpx.HTTPError:
        found.append(Finding(id="http.redirect", verdict=wanted, text="port 80 does not answer", hint=hint))
        return found
    leads = answer.headers.get("location", "")
    if answer.status_code in _REDIRECTS and leads.startswith("https://"):
        found.append(Finding(id="http.redirect", verdict=Verdict.OK, text=f"http leads to {leads}"))
    else:
        text = f"http answers {answer.status_code} and does not lead to https"
        found.append(Finding(id="http.redirect", verdict=wanted, text=text, hint=hint))
    return found
