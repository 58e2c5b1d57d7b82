"""Every block of the README, as it stands, in the environment that runs this: what one installs must be able to.

``make test-dist`` does it in an environment that holds nothing but the wheel. Commands of ``make`` and ``git`` are left
to those who have the repository. Run::

    python benchmarks/readme_blocks.py
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def blocks(text: str) -> list[list[str]]:
    """Arguments of each program: Python by ``-c``, and the commands of ntkrobust."""
    found = []
    for language, body in re.findall(r"```(python|console)\n(.*?)```", text.replace("\n  ", "\n"), flags=re.DOTALL):
        if language == "python":
            found.append([sys.executable, "-W", "error", "-c", body])
        else:
            lines = (shlex.split(line, comments=True) for line in re.findall(r"(?m)^\$ (ntkrobust .*)$", body))
            found += [[str(Path(sys.executable).with_name("ntkrobust")), *line[1:]] for line in lines]
    return found


def main() -> None:
    """Run them in an empty folder; the first that fails ends it."""
    asked = blocks(README.read_text(encoding="utf-8"))
    if len(asked) < 4:
        raise SystemExit(f"found {len(asked)} blocks in {README}: they are written in another way")
    with tempfile.TemporaryDirectory() as folder:
        for one in asked:
            start = time.perf_counter()
            done = subprocess.run(one, cwd=folder, env={**os.environ, "MPLBACKEND": "agg"}, stdout=subprocess.DEVNULL)
            print(f"{time.perf_counter() - start:6.1f} s  {' '.join(one[1:])[:80]!r}", flush=True)
            if done.returncode:
                raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
