"""Wrong calls of everything public: each is refused in one sentence, or does what it says.

``python benchmarks/wrong_calls.py --count 1000`` makes that many calls, each of a public function, class or command
with one or two arguments replaced by something out of place, and prints how they ended. It exits 1 if one ended in
another exception than :class:`ntkrobust.InputError`, in a sentence of several lines, or took more than ``SLOW`` s.
``--memory GIB`` bounds what the process may take beside what it has, so that what would fill the machine is seen too.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import dataclasses
import decimal
import fractions
import functools
import inspect
import io
import random
import re
import resource
import shutil
import signal
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

import ntkrobust as ntr
from ntkrobust.runtime.machine import virtual_bytes

SLOW = 20.0
"""Seconds of the processor that a call may take, the compilation of its programs included; waiting, ten times that."""

REFUSED, RIGHT, BARE, SLOW_CALL = "refused", "right", "bare", "slow"
OUTCOMES = (REFUSED, RIGHT, BARE, SLOW_CALL)


class _SlowError(BaseException):
    """A call took too long. Not an Exception, so that nothing in between catches it."""


_VALUES = (
        None, True, False, -1, 0, 2.9, 16.9, -0.0, "3", "", "nonsense", "x" * 3000, "\x1b[31mred", "[red]x[/red]",
        float("nan"), float("inf"), float("-inf"), 10**9, 10**12, 10**23, 10**400, -(10**30), 2**31, 2**32, 2**63,
        1e300, -1e300, 1e-300, 5e-324, 1j, complex("nan"), np.bool_(True), np.float32(2.5), np.float64("nan"),
        np.int64(-3), np.uint8(255), fractions.Fraction(1, 3), fractions.Fraction(10**400, 3), decimal.Decimal("1.5"),
        (), [], {}, set(), [None], [1, "a"], (1, 2, 3, 4), [[1.0], [1.0, 2.0]], ["digits"], {"depth": 10**23},
        {"nonsense": 1}, b"3", range(3), slice(3), object(), object, len, Ellipsis, NotImplemented, Path("nonsense"),
        Path("nonsense.csv"), "nonsense.npz", "..", "/dev/null", "\0",
)  # fmt: skip

WRONG: tuple[Callable[[], Any], ...] = (
    *((lambda value=value: value) for value in _VALUES),
    lambda: np.array(3), lambda: np.array([1.0, 2.0]), lambda: np.array([]), lambda: np.zeros((0, 4)),
    lambda: np.full((6, 4), np.nan), lambda: np.ones((6, 4), dtype=complex), lambda: np.array(["a", "b"]),
    lambda: np.array([None, 1], dtype=object), lambda: np.ma.masked, lambda: np.ma.masked_array([1.0, 2.0], [0, 1]),
    lambda: np.array("2020-01-01", dtype="datetime64[D]"), lambda: np.full((6, 4), 1e300), lambda: np.ones((2, 2, 2)),
    lambda: iter([1, 2]), lambda: (number for number in (3, 1)), lambda: jax.numpy.ones(3), lambda: jax.random.key(0),
    lambda: jax.random.PRNGKey(0), lambda: lambda: 3, lambda: lambda x: x, lambda: ntr.MLP(2, 3),
    lambda: jax.random.key(0, impl="rbg"), lambda: io.StringIO("3"),
)  # fmt: skip
"""What stands in the place of an argument; most of it is out of place anywhere."""


@dataclasses.dataclass(frozen=True)
class Door:
    """A public function, and arguments with which it works and costs little."""

    name: str
    call: Callable[..., Any]
    right: dict[str, Any]
    arguments: tuple[str, ...]


def _door(name: str, call: Callable[..., Any], /, **right: Any) -> Door:
    parameters = inspect.signature(call).parameters.values()
    named = [one.name for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    # What is called from outside while the work is done is the caller's own code.
    return Door(name, call, right, tuple(one for one in named if one not in ("progress", "announce")))


@functools.cache
def doors() -> tuple[Door, ...]:
    """Every public function and class that takes arguments, and those methods of theirs that do."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 4)), np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    net = ntr.MLP(2, 3)
    run = ntr.train(net, x, y, seeds=2, steps=2)
    law = ntr.exact_law(net, 4)
    ensemble = ntr.InfiniteEnsemble(ntr.MLP(2), x, y)
    now = ensemble.at(1.0)
    data = ntr.data.Dataset(x, y[:, None], x, y[:, None], "six points", "classification")
    grid = {"depth": (2,), "width": (3,)}
    claim = ntr.Claim("mine/bound", "a bound", ntr.AtMost(lambda width: 1e6), "jacobian_frobenius", grid)
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    run.save(folder / "run.npz")
    against = ntr.Adversary(0.1, steps=2)

    found = [
        _door("MLP", ntr.MLP, depth=2, width=3),
        _door("ConvNet", ntr.ConvNet, depth=2, width=3, image_shape=(2, 2, 1)),
        _door("WideResNet", ntr.WideResNet, depth=8, width=2, image_shape=(2, 2, 1)),
        _door("Activation", ntr.Activation, name="relu"),
        _door("Initialization", ntr.Initialization, beta_first=1.0, beta=1.0, beta_last=1.0),
        _door("Initialization.from_gains", ntr.Initialization.from_gains),
        _door("Initialization.scales", ntr.MLP(2, 3).drawn_from.scales, d=4, m=3, o=1),
        _door("Initialization.with_alpha_times", ntr.MLP(2, 3).drawn_from.with_alpha_times, factor=2.0),
        *(_door(f"MLP.{name}", getattr(net, name), d_in=4) for name in ("scales", "count_parameters", "weight_stds",
                                                                         "layer_shapes", "layers")),
        _door("exact_law", ntr.exact_law, net=net, d_in=4),
        _door("ExactLaw.moment", law.moment, p=2),
        _door("ExactLaw.abs_moment", law.abs_moment),
        _door("ExactLaw.log_abs_moment", law.log_abs_moment),
        _door("ExactLaw.gradient_norm_moment", law.gradient_norm_moment),
        _door("ExactLaw.sample", law.sample, key=jax.random.key(0), n=3),
        _door("ExactLaw.sample_gram", law.sample_gram, key=jax.random.key(0), n=3),
        _door("InfiniteEnsemble", ntr.InfiniteEnsemble, net=ntr.MLP(2), x_train=x, y_train=y),
        _door("InfiniteEnsemble.at", ensemble.at, time=1.0),
        _door("InfiniteEnsemble.with_learning_rate", ensemble.with_learning_rate, learning_rate=1e-3),
        *(
            _door(f"EnsembleAt.{name}", getattr(now, name), x=x)
            for name in ("mean", "variance", "covariance", "gradient_mean", "gradient_variance", "gradient_mean_sq",
                         "gradient_second_moment", "gradient_moments", "gradient_norm", "gradient_law",
                         "gradient_covariance", "gradient_value_covariance")
        ),
        _door("EnsembleAt.squared_difference", now.squared_difference, x=x, moved=x + 0.1),
        _door("EnsembleAt.squared_difference_resolution", now.squared_difference_resolution, x=x, moved=x + 0.1),
        _door("EnsembleAt.perturbation_stability", now.perturbation_stability, x=x, samples=4),
        _door("EnsembleAt.worst_case", now.worst_case, x=x, samples=4),
        _door("EnsembleAt.survival_probability", now.survival_probability, x=x, epsilon=0.1, samples=4),
        _door("train", ntr.train, net=net, x_train=x, y_train=y, seeds=2, steps=2),
        _door("measure", ntr.measure, run=run, x_test=x),
        _door("attack", ntr.attack, run=run, x=x, y=y, epsilon=0.1, methods=("fgsm",), steps=2, queries=2),
        _door("certify", ntr.certify, run=run, x=x, y=y, epsilon=0.1, method="interval"),
        _door("attacks.FGSM", ntr.attacks.FGSM),
        _door("attacks.PGD", ntr.attacks.PGD, steps=2),
        _door("attacks.APGD", ntr.attacks.APGD, loss="dlr"),
        _door("attacks.Square", ntr.attacks.Square, image_shape=(2, 2)),
        _door("attacks.RandomSearch", ntr.attacks.RandomSearch),
        _door("attacks.named", ntr.attacks.named, name="pgd"),
        _door("empirical_ntk", ntr.empirical_ntk, run=run, x=x),
        _door("objective_parts", ntr.objective_parts, run=run, x=x, y=y, adversary=against),
        _door("regularization_ratio", ntr.regularization_ratio, run=run),
        _door("width_adjusted_strength", ntr.width_adjusted_strength, reference=run, net=net),
        _door("StrengthSchedule", ntr.StrengthSchedule, widths=(3, 4), strengths=(0.1, 0.2)),
        _door("Adversary", ntr.Adversary, epsilon=0.1),
        _door("Run.load", ntr.Run.load, path=folder / "run.npz"),
        _door("Claim", ntr.Claim, id="mine/bound", statement="", relation=claim.relation,
              measure="jacobian_frobenius", grid=grid),
        _door("claim", ntr.claim, id="mine/bound", grid=grid),
        _door("Reading", ntr.Reading),
        _door("Assumption", ntr.Assumption, text="wide", holds=lambda width: width > 2),
        _door("Quantity", ntr.Quantity, name="one", formula=lambda width: 1.0),
        _door("Measure", ntr.Measure, name="mine", definition="", compute=lambda probe: probe.x[:, 0]),
        *(_door(made.__name__, made, bound=lambda width: 1.0) for made in (ntr.AtMost, ntr.AtLeast)),
        *(_door(made.__name__, made, bound=lambda width: 1.0) for made in (ntr.OrderAtMost, ntr.OrderAtLeast)),
        _door("Equals", ntr.Equals, value=lambda width: 1.0),
        _door("ScalesAs", ntr.ScalesAs, axis="width", power=1.0),
        *(_door(made.__name__, made, axis="width")
          for made in (ntr.IncreasesIn, ntr.DecreasesIn, ntr.RisesThenFalls, ntr.FallsThenRises)),
        _door("verify", ntr.verify, claims=claim, data=data, seeds=2, points=2),
        _door("sweep", ntr.sweep, networks={"depth": 2, "width": 4}, data=data, seeds=2, points=2),
        _door("power", ntr.power, claims=claim, data=data, seeds=2, points=2, cv=0.1),
        _door("search", ntr.search, claim=claim, data=data, seeds=2, budget=1),
        _door("compare", ntr.compare, net=ntr.MLP(2), data=data, widths=(2, 3, 4), steps=(0, 1), n=4, points=2,
              seeds=12),
        _door("claims.load", ntr.claims.load, claim_id="law/jensen"),
        _door("claims.select", ntr.claims.select, names=["law/jensen"]),
        _door("claims.catalogue", ntr.claims.catalogue),
        _door("data.load", ntr.data.load, spec="digits"),
        _door("data.digits", ntr.data.digits),
        _door("data.sphere", ntr.data.sphere, n_train=3, n_test=2, d=2),
        _door("data.gaussian", ntr.data.gaussian, n_train=3, n_test=2, d=2),
        _door("data.targets", ntr.data.targets, y=[0, 1, 2]),
        _door("data.from_file", ntr.data.from_file, path="nonsense.csv"),
        _door("data.from_folder", ntr.data.from_folder, path="nonsense"),
        _door("data.Dataset", ntr.data.Dataset, x_train=x, y_train=y[:, None], x_test=x, y_test=y[:, None], name="six",
              task="classification"),
        _door("data.Dataset.subset", data.subset, n_train=2, n_test=2),
        _door("data.Dataset.noisy_targets", data.noisy_targets, n=2, share=0.0),
    ]  # fmt: skip
    return tuple(found)


COMMANDS: dict[str, dict[str, str]] = {
    "law": {"--depth": "3", "--width": "4", "--d-in": "5", "--d-out": "1", "--initialization": "he",
            "--activation": "relu"},
    "infinite": {"--depth": "2", "--width": "4", "--initialization": "he", "--parameterization": "ntk",
                 "--bias-std": "0.1", "--activation": "relu", "--data": "gaussian", "--time": "1.0",
                 "--learning-rate": "0.001", "--ridge": "0.1", "--kernel": "ntk", "--points": "2"},
    "verify": {"": "law/jensen", "--preset": "quick", "--data": "digits", "--seeds": "2", "--looks": "1",
               "--points": "2", "--key": "0", "--at": "depth=2", "--only": "x", "--out": "nonsense\0"},
    "power": {"": "law/jensen", "--preset": "quick", "--data": "digits", "--seeds": "2", "--points": "2",
              "--cv": "0.1"},
    "claims": {"--preset": "quick"},
    "certify": {"--run": "nonsense.npz", "--data": "gaussian", "--epsilon": "0.1", "--norm": "linf",
                "--method": "interval", "--points": "2"},
    "compare": {"--depth": "2", "--activation": "relu", "--widths": "2", "--initialization": "he", "--bias-std": "0.1",
                "--data": "gaussian", "--n": "4", "--points": "2", "--label-scale": "1", "--steps": "1", "--rate": "1",
                "--seeds": "2", "--half-width": "0.1", "--max-seeds": "2", "--key": "0", "--out": "nonsense\0"},
    "report": {"": "nonsense"},
    "doctor": {"--nonsense": "1"},
}  # fmt: skip
"""Command → options with values; those of ``verify`` and ``compare`` leave nothing behind."""

WRONG_WORDS = ("-1", "0", "2.9", "16.9", "-0.0", "nan", "inf", "-inf", "1e400", "1e-400", "1e6", "0x10", "1_0", "٣",
               "10000000000000000000000000", "1000000000", "9223372036854775808", "", " ", "nonsense", "true", "None",
               "[red]x[/red]", "\x1b[31mred", "../x", "nonsense.csv", "nonsense.toml", "9" * 5000, "relu(1e999)",
               "leaky_relu(nan)", "gains(1,2,nan)", "depth=", "=3", "depth=1e23", "depth=99999999999999999999999",
               "width=1000000000000", "openml:", "idx:nonsense", "--", "\0", "$x$", "a\nb")  # fmt: skip


def wrong_calls(count: int, seed: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """So many calls, the same ones for the same seed: words for each, and what makes it."""
    rng = random.Random(seed)
    rooms = doors()
    for _ in range(count):
        if rng.random() < 0.2:
            yield _wrong_command(rng)
            continue
        door = rng.choice(rooms)
        replaced = rng.sample(door.arguments, min(len(door.arguments), 1 + (rng.random() < 0.2)))
        wrong = {name: rng.choice(WRONG)() for name in replaced}
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in wrong.items())
        yield f"{door.name}({shown})", functools.partial(door.call, **(door.right | wrong))


def _wrong_command(rng: random.Random) -> tuple[str, Callable[[], Any]]:
    command = rng.choice(tuple(COMMANDS))
    options = dict(COMMANDS[command])
    # Commands that would work for long are called with what makes them cheap and one thing wrong; others with anything.
    kept = [name for name in options if name in ("", "--depth", "--width", "--d-in", "--data", "--out", "--widths")]
    chosen = rng.choice(tuple(options))
    # Most words name a folder that could be written to.
    options[chosen] = rng.choice(("", "\0", "/dev/null", "/proc/x") if chosen == "--out" else WRONG_WORDS)
    words = [command]
    for name in dict.fromkeys([*kept, chosen]):
        words += [options[name]] if not name else [name, options[name]]
    return f"ntkrobust {' '.join(map(_shown, words))}", functools.partial(_run_command, words)


def _run_command(words: list[str]) -> None:
    """Raises InputError with what the command said if it was refused."""
    from ntkrobust.cli import run

    error = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
        status = run(words)
    if status == 2:
        raise ntr.InputError(error.getvalue().strip())
    if status not in (0, 1):
        raise RuntimeError(f"exit status {status}")


def _shown(value: object) -> str:
    try:
        return re.sub(r" at 0x[0-9a-f]+", "", " ".join(repr(value).split()))[:60]
    except Exception:
        # Python refuses to print integers of thousands of digits.
        return f"<a {type(value).__name__}>"


def outcome_of(call: Callable[[], Any], seconds: float = SLOW) -> tuple[str, str]:
    """How a call ends, and in what words."""

    def late(*_: object) -> None:
        raise _SlowError

    before = signal.signal(signal.SIGPROF, late), signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 10 * seconds)
    try:
        with np.errstate(all="ignore"):
            call()
    except ntr.InputError as error:
        sentence = str(error)
        return (REFUSED, sentence) if sentence and "\n" not in sentence else (BARE, f"several lines: {sentence!r}")
    except _SlowError:
        return SLOW_CALL, f"more than {seconds:g} s"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return BARE, f"{type(error).__name__}: {str(error)[:120]} ({Path(where.filename).name}:{where.lineno})"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGPROF, before[0])
        signal.signal(signal.SIGALRM, before[1])
    return RIGHT, ""


def campaign(count: int, seed: int) -> list[tuple[str, str]]:
    """(call, outcome) of so many wrong calls."""
    return [(call, outcome) for call, outcome, _ in told_campaign(count, seed)]


def told_campaign(count: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """(call, outcome, words) of so many wrong calls, as they end."""
    for call, make in wrong_calls(count, seed):
        yield call, *outcome_of(make)


@contextlib.contextmanager
def bounded_memory(more: int) -> Iterator[None]:
    """So many bytes of addresses may be taken beside those that are."""
    doors()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (virtual_bytes() + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=float, default=4.0, help="GiB")
    asked = parser.parse_args()
    counts: Counter[str] = Counter()
    with bounded_memory(int(asked.memory * 2**30)):
        for call, outcome, words in told_campaign(asked.count, asked.seed):
            counts[outcome] += 1
            if outcome in (BARE, SLOW_CALL):
                print(f"{outcome}: {call}\n    {words}", flush=True)
    for outcome in OUTCOMES:
        print(f"{outcome:>8}  {counts[outcome]:>6}")
    return 1 if counts[BARE] or counts[SLOW_CALL] else 0


if __name__ == "__main__":
    raise SystemExit(main())
