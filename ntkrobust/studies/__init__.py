"""From claims to cells, from cells to evidence: which networks are drawn, trained and measured, and what is judged."""
