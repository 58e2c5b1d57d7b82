"""Write the overview figure of the README from stored results: ``python docs/figures.py ntkrobust-results``."""

import sys
from pathlib import Path

from ntkrobust.reports.figures import overview_figure
from ntkrobust.reports.stored import read_folder

if __name__ == "__main__":
    target = Path(__file__).parent / "figures" / "overview.svg"
    target.parent.mkdir(exist_ok=True)
    target.write_text(overview_figure(read_folder(sys.argv[1]).document), encoding="utf-8")
    print(target)
