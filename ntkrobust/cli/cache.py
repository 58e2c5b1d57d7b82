"""Compiled programs, kept between runs."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import warnings
from pathlib import Path
from typing import Any

_DAMAGED = re.compile(r"Error (?:reading|writing) persistent compilation cache entry for '([^']+)'")
"""How JAX warns of a program that it can't store, or read back."""


def use_compilation_cache() -> None:
    """Keep compiled programs between runs, in a folder that only the user can write (unless one is already set)."""
    import jax

    if getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ntkrobust" / "compiled"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
        # A program planted in a folder that others can write would be run as ours.
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            return
    except (OSError, RuntimeError):  # no home
        return
    _forget_damaged(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def _forget_damaged(folder: Path) -> None:
    """Remove programs that a kill or a full disk cut short, in silence: JAX compiles them again, but warns for ever."""
    show = warnings.showwarning

    def show_or_forget(message: Warning | str, *where: Any, **more: Any) -> None:
        damaged = _DAMAGED.match(str(message))
        if damaged is None:
            show(message, *where, **more)
            return
        for entry in folder.glob(f"{glob.escape(damaged[1])}-*"):
            with contextlib.suppress(OSError):
                entry.unlink()

    warnings.showwarning = show_or_forget
