"""``python -m ntkrobust``."""

from ntkrobust.cli import main

main()
