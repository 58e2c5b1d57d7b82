"""Papers that several measures come from."""

ZHU = "Zhu et al., arXiv 2209.07263"
WU = "Wu et al., arXiv 2010.01279"
