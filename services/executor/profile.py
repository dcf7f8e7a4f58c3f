"""What is fixed when a sandbox is made, before anybody knows whose code it will hold.

Workers of one runtime and profile can stand in for each other until they have loaded code: that is what makes spares possible.
What can still be set then (memory, processes, descriptors) is `catalog.Limits` and not part of it.
"""

from dataclasses import dataclass

from libs.messages.catalog import VersionEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The walls of a sandbox."""

    network: bool = True
    hosts: tuple[str, ...] = ()
    """When not empty, the only hosts that are reached."""
    local: bool = False
    """Whether the machine's own addresses are reached."""
    write: bool = False
    run: bool = True
    disk_mb: int = 64


def of_version(version: VersionEntry) -> Profile:
    """Return the profile that a version's workers need."""
    allowed = version.permissions
    return Profile(
        network=allowed.network,
        hosts=allowed.hosts if allowed.network else (),
        local=allowed.local and allowed.network,
        write=allowed.write,
        run=allowed.run,
        disk_mb=version.limits.disk_mb,
    )
