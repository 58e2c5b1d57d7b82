"""Reports: tables, figures and pages made from stored verdicts and evidence."""
