"""As a user writes it: every argument and every result has the type that the package says."""

from pathlib import Path

import numpy as np
import xarray as xr

import ntkrobust as ntr

net = ntr.MLP(depth=3, width=64, initialization="he")
law: ntr.ExactLaw = ntr.exact_law(net, d_in=64)
share: float = law.perturbation_stability()
data: ntr.data.Dataset = ntr.data.load("digits").subset(20, 10)
own: ntr.data.Dataset = ntr.data.standardized(ntr.data.from_arrays(np.ones((3, 2)), np.ones(3)))
run: ntr.Run = ntr.train(net, data.x_train, data.y_train, seeds=8, steps=200)
found: xr.Dataset = ntr.measure(run, data.x_test, ["perturbation_stability", ntr.measures.LazyRatio()])
attacked: xr.Dataset = ntr.attack(run, data, epsilon=[0.01, 0.03], methods=["fgsm", ntr.attacks.PGD(steps=5)])
certified: xr.Dataset = ntr.certify(run, data.x_test, data.y_test, epsilon=0.01)
adversarial: ntr.Run = ntr.train(net, data, seeds=2, steps=5, adversary=ntr.Adversary(epsilon=0.05, norm="l2"))
ensemble: ntr.InfiniteEnsemble = ntr.InfiniteEnsemble(net, data)
at: ntr.EnsembleAt = ensemble.at(1.0)
claim: ntr.Claim = ntr.Claim(
    id="mine/bound",
    statement="at most",
    relation=ntr.AtMost(2.5),
    measure="jacobian_frobenius_sq",
    grid={"initialization": ("he",), "depth": (2, 4), "width": (64,)},
    reading=ntr.Reading("equal loss", 0.3),
)
also = [ntr.AtLeast("depth / width"), ntr.Equals(lambda depth: float(depth)), ntr.DecreasesIn("depth")]
verdict: ntr.Verdict = ntr.verify(claim, data="digits", seeds=4)
verdicts: ntr.Verdicts = ntr.verify([claim, "law/jensen"], out=Path("results"))
label: str = verdict.label
comparison: ntr.Comparison = ntr.compare(net, data)
with ntr.plots.style("neurips"):
    ntr.plots.accuracy_against_radius(attacked).savefig("a.pdf")
    comparison.figure().savefig("b.pdf")
    verdict.figure().savefig("c.pdf")
power = ntr.power(claim, seeds=16)
flax = ntr.from_flax(object(), d_out=10)


@ntr.claim("mine/largest", measure="jacobian_frobenius", grid={"depth": [2, 4], "width": [32]}, draws=16)
def bound(depth: int, width: int) -> float:
    return 2 + 4 * depth / width


for name in ntr.__all__:
    print(name)
