"""Write the figures of docs/statements from stored results: ``python docs/statement_figures.py RESULTS``.

RESULTS is a folder that ``ntkrobust verify --out`` wrote; the figures whose claims it holds are written to figures/.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ntkrobust.files.atomic import write_text
from ntkrobust.reports.figures import overview_figure, verdict_figure
from ntkrobust.reports.stored import Stored, read_folder

FOLDER = Path(__file__).parent / "figures"

TRENDS = {
    "depth-he-untrained": "zhu2022/depth-he/measured@initialization",
    "depth-he-converged": "zhu2022/depth-he/infinite@converged",
    "width-under": "zhu2022/width-under/measured@equal-time",
    "width-over": "zhu2022/width-over/measured@equal-scaled-time",
    "nonlazy-width": "zhu2022/nonlazy-width/measured@equal-loss",
    "nonlazy-small": "zhu2022/nonlazy-width/measured@small-initialization",
    "order-he": "zhu2022/order-he/bound@initialization",
    "wider-natural": "wu2021/natural/measured@trades-32",
    "wider-stability-pgd": "wu2021/stability/measured@adversarial-training",
    "wider-stability-trades-2": "wu2021/stability/measured@trades-2",
    "wider-stability-trades-32": "wu2021/stability/measured@trades-32",
    "wider-lipschitz": "wu2021/local-lipschitz/measured@trades-32",
    "wider-war": "wu2021/war-robustness/measured@trades",
}
"""Figure → the claim whose cells it shows."""

OVERVIEWS = {
    "depth-finite": ("zhu2022/depth-", "/measured"),
    "depth-infinite": ("zhu2022/depth-", "/infinite"),
}
"""Figure → what the ids of the claims whose effects it shows begin with, and what they contain."""


def figures(stored: Stored) -> Iterator[tuple[str, str]]:
    """Names and ``svg`` elements of the figures whose claims are there."""
    verdicts = stored.document["values"]["verdicts"]
    for name, claim in TRENDS.items():
        for verdict in verdicts:
            if verdict["claim"] == claim:
                yield name, verdict_figure(verdict, stored.evidence)
    for name, (start, part) in OVERVIEWS.items():
        chosen = [one for one in verdicts if one["claim"].startswith(start) and part in one["claim"]]
        if chosen:
            values = {**stored.document["values"], "verdicts": chosen}
            yield name, overview_figure({**stored.document, "values": values})


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, svg in figures(read_folder(sys.argv[1])):
        target = FOLDER / f"{name}.svg"
        write_text(target, f"{svg}\n")
        print(target)


if __name__ == "__main__":
    main()
