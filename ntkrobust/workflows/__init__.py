"""What users call: one workflow each, from claims to cells, evidence, verdicts and files."""
