"""Compiled programs, kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


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
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
