"""What the machine has and what of it this process may take: memory and cores."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
"""Where Linux shows control groups."""

MEMBERSHIP = Path("/proc/self/cgroup")
"""Where it says to which of them this process belongs."""

_V2_LIMITS = ("memory.max", "memory.high")
_V1_LIMITS = ("memory.limit_in_bytes",)


def resident_bytes() -> int:
    """Bytes this process holds now; 0 where the system doesn't say."""
    return _statm(1)


def virtual_bytes() -> int:
    """Bytes of addresses this process has taken; 0 where the system doesn't say. Most of them hold nothing."""
    return _statm(0)


def _statm(field: int) -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[field]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def physical_bytes() -> int:
    """Bytes of memory of the machine; 0 where the system doesn't say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def available_bytes() -> int:
    """Bytes of memory that this process may hold, those it holds included; 0 where nothing says.

    The least of the machine's memory, the limits of the control groups it is in (containers, batch systems), and what
    the limits on its addresses and its data (``ulimit -v``, ``-d``) leave.
    """
    known = [limit for limit in (physical_bytes(), *_control_group_limits(), *_process_limits()) if limit > 0]
    return min(known, default=0)


def _process_limits() -> Iterator[int]:
    """What RLIMIT_AS and RLIMIT_DATA leave, in resident bytes.

    Addresses that hold nothing (libraries, stacks of threads, reserves) count towards RLIMIT_AS: what is left of it is
    what can still be taken.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        return
    for kind, taken in ((resource.RLIMIT_AS, virtual_bytes()), (resource.RLIMIT_DATA, _statm(5))):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY:
            yield max(1, limit - taken + resident_bytes())


def _control_group_limits() -> Iterator[int]:
    """The limits of the groups that this process is in, of version 1 and 2, and of those they are nested in."""
    try:
        lines = MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        # hierarchy:controllers:path, where version 2 has no controllers
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        root, names = (CGROUPS / "memory", _V1_LIMITS) if controllers else (CGROUPS, _V2_LIMITS)
        # In a container the path may be the host's, of which only the root is to be seen: it is asked in any case.
        within = Path(path.lstrip("/"))
        for folder in (root / within, *(root / above for above in within.parents)):
            for name in names:
                limit = _limit(folder / name)
                if limit:
                    yield limit


def _limit(path: Path) -> int:
    """The number in a file; 0 for ``max``, for the number that version 1 writes for none, and for no file."""
    try:
        text = path.read_text(encoding="ascii").strip()
        number = 0 if text == "max" else int(text)
    except (OSError, ValueError):
        return 0
    return number if 0 < number < 2**60 else 0


def gibibytes(number: float) -> str:
    """Bytes as people read them: ``0.1 GiB``; ``more than 10³ TiB`` where a number says nothing any more."""
    return f"{number / 2**30:.1f} GiB" if math.isfinite(number) and number < 2**50 else "more than 1000 TiB"


def mappings() -> tuple[int, int]:
    """Mappings of memory that this process has, and how many it may have; 0 and 0 where the system doesn't say."""
    try:
        with open("/proc/self/maps", "rb") as file:
            held = sum(1 for _ in file)
        return held, _limit(Path("/proc/sys/vm/max_map_count"))
    except OSError:
        return 0, 0


def cores() -> int:
    """Processors that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
