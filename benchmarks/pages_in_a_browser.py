"""Pages as a reader meets them: in headless Chromium, on a desktop and on a phone.

    pip install playwright axe-playwright-python     # and Chromium, wherever it is installed
    python benchmarks/pages_in_a_browser.py site/*.html ntkrobust-results/report.html [--pictures DIR]

For each page and width: errors of the console, requests that leave the page's folder, what is wider than the window,
and what axe-core finds of serious or critical impact. Fails where there is any. ``--planted`` looks at a page with one
of each instead, and fails unless all four are seen.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

try:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright
except ImportError:
    raise SystemExit("this looks at pages with: pip install playwright axe-playwright-python") from None

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
SERIOUS = ("serious", "critical")
PLANTED = """<!doctype html><html lang="en"><title>Planted</title><meta name="viewport" content="width=device-width">
<h1>Planted</h1><div style="width: 2000px">wide</div><img src="https://example.org/x.png">
<p style="color: #ccc; background: #fff">pale</p><script>throw new Error("planted")</script></html>"""
WIDER = """() => {
  const room = document.documentElement.clientWidth;
  const over = document.documentElement.scrollWidth - room;
  if (over <= 1) return [];
  const wide = [...document.querySelectorAll("body *")].filter(one => one.getBoundingClientRect().right > room + 1);
  return [`${over} px: ` + wide.slice(0, 3).map(one => one.outerHTML.slice(0, 90)).join(" | ")];
}"""


def faults(browser: Any, path: Path, size: tuple[int, int], scheme: str, picture: Path | None) -> list[str]:
    """What is wrong with a page at a size of the window, in light or dark colours."""
    found: list[str] = []
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = context.new_page()
    page.on("console", lambda said: found.append(f"console: {said.text}") if said.type == "error" else None)
    page.on("pageerror", lambda error: found.append(f"error: {error}"))
    page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else found.append(asked.url))
    page.goto(path.resolve().as_uri())
    page.wait_for_timeout(150)
    found += [f"wider than the window by {one}" for one in page.evaluate(WIDER)]
    # Its look at style sheets by themselves would be a request, and is only for a rule on orientation.
    for one in Axe().run(page, options={"preload": False}).response["violations"]:
        if one["impact"] in SERIOUS:
            where = one["nodes"][0]
            found.append(f"axe {one['id']} ({one['impact']}), {len(one['nodes'])} places: {where['html'][:120]}")
    if picture is not None:
        page.screenshot(path=picture)
    context.close()
    return found


def main() -> None:
    """Look at each page at each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder for a screenshot of each page and size")
    parser.add_argument("--dark", action="store_true", help="ask pages for dark colours")
    parser.add_argument("--planted", action="store_true", help="see whether faults are noticed")
    asked = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if asked.pictures is not None:
        asked.pictures.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play, tempfile.TemporaryDirectory() as folder:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        if asked.planted:
            (Path(folder) / "planted.html").write_text(PLANTED, encoding="utf-8")
            asked.pages = [Path(folder) / "planted.html"]
        seen = []
        for path in asked.pages:
            for name, size in SIZES.items():
                picture = asked.pictures and asked.pictures / f"{path.stem}-{name}.png"
                found = faults(browser, path, size, "dark" if asked.dark else "light", picture)
                seen += found
                print(f"{path.name} {name}: {'; '.join(found) or 'nothing found'}", flush=True)
        browser.close()
    if asked.planted:
        kinds = [any(one.startswith(start) for one in seen) for start in ("error", "https", "wider", "axe color")]
        sys.exit(0 if all(kinds) else f"not noticed: {kinds}")
    print(f"{len(asked.pages)} pages at {len(SIZES)} sizes, {len(seen)} faults")
    sys.exit(bool(seen))


if __name__ == "__main__":
    main()
