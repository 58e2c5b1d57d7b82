"""Mathematics only: one file per law or paper."""
