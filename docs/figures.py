"""Write the overview figure of the README from stored results: ``python docs/figures.py ntkrobust-results``."""

import sys
from pathlib import Path

from ntkrobust.files.atomic import write_text
from ntkrobust.reports.figures import overview_figure
from ntkrobust.reports.stored import read_folder

if __name__ == "__main__":
    target = Path(__file__).parent / "figures" / "overview.svg"
    target.parent.mkdir(exist_ok=True)
    write_text(target, overview_figure(read_folder(sys.argv[1]).document))
    print(target)
