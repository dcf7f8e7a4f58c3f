"""What a build may know of this machine: which index it installs from, how it gets there, and the certificates to trust.

Of the executor's environment only what is named here gets into a build, and of its home folder only the tools' own settings.
These may hold credentials for a package index: `secrets` finds them, so that they are kept out of logs and layers.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

HOME = "/tmp/home"  # noqa: S108  the build's own
"""Home folder inside a build."""

PREFIXES = ("PIP_", "NPM_CONFIG_", "CARGO_", "COMPOSER_", "DENO_", "UV_")
"""Variables that begin so get into builds, in capitals or not, except those of `WITHHELD`."""

NAMES = frozenset({
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "NODE_USE_ENV_PROXY", "GIT_SSL_CAINFO", "JSR_URL",
})  # fmt: skip
"""Further variables that do."""

WITHHELD = re.compile(
    r".*(?:CACHE|PREFIX|HOME|TARGET|_DIR|ROOT|_LOG|USERCONFIG|GLOBALCONFIG|SCRIPT|MANIFEST|USER|PYTHON|_SRC|_V8_FLAGS)$|"
    r"CARGO_PKG_.*|CARGO_BIN.*|CARGO_BUILD_.*",
    re.IGNORECASE,
)
"""Variables that would have a tool write, or look for programs, where it may not."""

FILES = (
    ("/etc/pip.conf", "/etc/pip.conf"),
    ("~/.config/pip/pip.conf", f"{HOME}/.config/pip/pip.conf"),
    ("~/.pip/pip.conf", f"{HOME}/.pip/pip.conf"),
    ("~/.npmrc", f"{HOME}/.npmrc"),
    ("~/.cargo/config.toml", f"{HOME}/.cargo/config.toml"),
    ("~/.cargo/credentials.toml", f"{HOME}/.cargo/credentials.toml"),
    ("~/.config/composer/config.json", f"{HOME}/.config/composer/config.json"),
    ("~/.config/composer/auth.json", f"{HOME}/.config/composer/auth.json"),
)
"""Settings of tools: where they lie on this machine, and where a build finds a copy."""

_MAX_FILE = 256 * 1024
_MIN_SECRET = 6
_SECRET_NAME = re.compile(r"TOKEN|PASSWORD|PASSWD|SECRET|_AUTH$|APIKEY|API_KEY|CREDENTIAL", re.IGNORECASE)
_SECRETS = (
    re.compile(r"://[^\s/@:]*:([^\s/@]+)@"),
    re.compile(r"://([^\s/@:]+)@"),
    re.compile(r"(?:_authToken|_password|_auth)\s*=\s*[\"']?([^\s\"']+)"),
    re.compile(r"(?:token|password|secret)[\"']?\s*[=:]\s*[\"']([^\"']+)[\"']", re.IGNORECASE),
)
_WITHOUT_SCRIPTS = (("PIP_ONLY_BINARY", ":all:"), ("NPM_CONFIG_IGNORE_SCRIPTS", "true"), ("npm_config_ignore_scripts", "true"))
_LOCAL = re.compile(r"://(?:[^\s/@]*@)?(?:localhost|127\.\d|\[::1\])", re.IGNORECASE)
_URL_USER = re.compile(r"(://)[^\s/@]+@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """What builds on this machine are given."""

    env: Mapping[str, str]
    files: tuple[tuple[bytes, str], ...] = ()
    """Contents of settings files, and where the build finds them."""
    visible: tuple[Path, ...] = ()
    """What variables name by its path, shown read-only."""
    secrets: tuple[str, ...] = ()
    local: bool = False
    """Whether a build reaches this machine's own addresses, for a mirror or a proxy that runs here."""

    def told(self, line: str) -> str:
        """Return a line of a tool's output with credentials left out."""
        for secret in self.secrets:
            line = line.replace(secret, "***")
        return _URL_USER.sub(r"\1***@", line)


def gather(environ: Mapping[str, str], home: Path, *, scripts: bool, local: bool = False) -> Toolbox:
    """Return what builds are given of this machine.

    Args:
        environ: the executor's environment.
        home: its user's home folder.
        scripts: whether packages may run programs of their own while they are installed, or be built from source.
        local: whether builds reach this machine's own addresses; they do when their tools' settings name one.
    """
    chosen = {name: value for name, value in environ.items() if _is_allowed(name) and value}
    if not scripts:
        chosen.update(_WITHOUT_SCRIPTS)
    files: list[tuple[bytes, str]] = []
    for source, target in FILES:
        data = _read(Path(source.replace("~", str(home), 1)))
        if data is not None:
            files.append((data, target))
    texts = [data.decode(errors="replace") for data, _ in files]
    return Toolbox(
        env=chosen,
        files=tuple(files),
        visible=_named_paths(chosen.values()),
        secrets=_secrets(chosen, texts),
        local=local or any(_LOCAL.search(text) for text in (*chosen.values(), *texts)),
    )


def _is_allowed(name: str) -> bool:
    upper = name.upper()
    return upper in NAMES or (upper.startswith(PREFIXES) and not WITHHELD.fullmatch(upper))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.stat().st_size <= _MAX_FILE else None
    except OSError:
        return None


def _named_paths(values: Iterable[str]) -> tuple[Path, ...]:
    paths = {
        Path(word.removeprefix("file://")) for value in values for word in value.split() if word.startswith(("/", "file:///"))
    }
    return tuple(sorted(path for path in paths if path != Path("/") and path.exists()))


def _secrets(env: Mapping[str, str], texts: Iterable[str]) -> tuple[str, ...]:
    found = {value for name, value in env.items() if _SECRET_NAME.search(name)}
    for text in (*env.values(), *texts):
        for pattern in _SECRETS:
            found.update(pattern.findall(text))
    # The longest first, so that none is told in part because another is contained in it.
    return tuple(sorted((each for each in found if len(each) >= _MIN_SECRET), key=len, reverse=True))
