"""Numbers and names as a reader wants them: shared by figures, pages and the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LABELS = ("supported", "refuted", "flat", "inconclusive", "out of scope")
"""What a verdict may say, in the order in which they are counted."""

MISSING = "–"

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_AXES = {"d_out": "outputs", "n": "training points", "bias_std": "bias std"}
_OPTIMIZERS = {"gd": "gradient descent"}
_SMALLEST_P = 1e-6  # the tests' distributions are approximations: smaller numbers say nothing more
_LONGEST_VALUE = 28
SHOWN = 0.95
"""Level of an interval whose level is not named beside it."""


def number(value: float | None, digits: int = 3) -> str:
    """A number with this many significant digits: ``0.117``, ``1024``, ``2.65×10⁻¹³``."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if -4 < magnitude < 6:
        return _signed(f"{value:.{max(0, digits - 1 - magnitude)}f}")
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{_signed(mantissa)}×{power_of_ten(int(exponent))}"


def signed(value: float | None, digits: int = 3) -> str:
    """The same with its sign: ``+0.117``, ``−0.117``."""
    return f"{'+' if value is not None and value > 0 else ''}{number(value, digits)}"


def _signed(digits: str) -> str:
    return digits.replace("-", "−")


def power_of_ten(exponent: int) -> str:
    """``10⁻³``."""
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"


def tick(value: float) -> str:
    """A number on an axis, with no digits to spare: ``0.05``, ``10⁻⁶``."""
    if value != 0 and not 1e-4 < abs(value) < 1e6:
        mantissa, _, exponent = f"{value:.3e}".partition("e")
        lead = f"{float(mantissa):g}"
        return ("" if lead == "1" else f"{_signed(lead)}×") + power_of_ten(int(exponent))
    return _signed(f"{value:.6g}")


def estimate(value: float | None, interval: Sequence[float | None] | None) -> str:
    """``0.1167 [0.1151, 0.1183]``, with as many digits as the interval gives a right to.

    An interval of no length says nothing that the value doesn't: ``0.0625``.
    """
    if value is None:
        return MISSING
    low, high = interval or (None, None)
    if low is None or high is None or low == high:
        return number(value)
    size = max(abs(value), abs(low), abs(high))
    if not 1e-4 < size < 1e6:
        return f"{number(value)} [{number(low)}, {number(high)}]"
    # Two digits of the interval's length, and two behind the point or three in all of the value.
    wanted = 2 - max(0, math.floor(math.log10(size))), 1 - math.floor(math.log10(high - low))
    decimals = min(max(0, *wanted), 6)
    return _signed(f"{value:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]")


def is_factor(effect: Mapping[str, Any]) -> bool:
    """Whether 1 is no effect; the effect on a power law is its exponent, for which that is 0."""
    return not effect["name"].startswith("exponent of ")


def factor(effect: Mapping[str, Any] | None) -> str:
    """The size of an effect: ``×0.1167 [0.1151, 0.1183]``; of an exponent, without the sign.

    The interval is one of 95 %. Where the label was decided at another level and so says something else, it is the one
    that goes with the label, and its level stands behind it: ``×1.034 [0.998, 1.071] at 99.7 %``.
    """
    if effect is None or effect["estimate"] is None:
        return MISSING
    sign = "×" if is_factor(effect) else ""
    level = effect.get("level", SHOWN)
    at = "" if level == SHOWN else f" at {100 * level:.4g} %"
    return f"{sign}{estimate(effect['estimate'], effect['interval'])}{at}"


def p_value(p: float | None) -> str:
    """``<10⁻⁶``, ``2.6×10⁻⁵``, ``0.096``, ``1``."""
    if p is None:
        return MISSING
    if p < _SMALLEST_P:
        return f"<{power_of_ten(round(math.log10(_SMALLEST_P)))}"
    if p >= 0.9995:
        return "1"
    return number(p, 2)


def integer(value: int) -> str:
    """``57 200``, with thin spaces that don't break."""
    return f"{value:,}".replace(",", "\u202f")


def duration(seconds: float) -> str:
    """``48 s``, ``2 min 53 s``, ``3 h 5 min``, in spaces at which no line ends."""
    whole = round(seconds)
    if whole < 60:
        told = f"{whole} s"
    elif whole < 3600:
        told = f"{whole // 60} min {whole % 60} s"
    else:
        told = f"{whole // 3600} h {whole % 3600 // 60} min"
    return told.replace(" ", "\u00a0")


def headline(effect: Mapping[str, Any] | None) -> str:
    """The effect as the title of a figure: ``depth 2 → 8: ×0.1167 [0.1151, 0.1183]``."""
    return "" if effect is None else f"{effect['name'].rstrip(':')}: {factor(effect)}"


def count(n: int, singular: str, plural: str = "") -> str:
    """``1 claim``, ``21 claims``."""
    return f"{integer(n)} {singular if n == 1 else plural or singular + 's'}"


def label(verdict: Mapping[str, Any]) -> str:
    """What a verdict says, with the margin of what is flat: ``flat to 5 %``; and whether it says it of a bound that
    says nothing: ``supported, vacuous``.
    """
    if verdict["label"] == "flat":
        return f"flat to {100 * verdict['relation']['flat']:.3g} %"
    return f"{verdict['label']}, vacuous" if verdict.get("vacuous") else str(verdict["label"])


def label_counts(document: Mapping[str, Any]) -> dict[str, int]:
    """How many verdicts carry each label, in the order of the labels; labels that none carries are left out."""
    counts = Counter(verdict["label"] for verdict in document["values"]["verdicts"])
    return {label: counts[label] for label in LABELS if counts[label]}


def networks_used(document: Mapping[str, Any]) -> str:
    """``640 networks, 128 of them trained``, and how many were planned where looks stopped early."""
    used, planned = (document["values"]["networks"][name] for name in ("used", "planned"))
    text = f"{count(used['drawn'], 'network')}, {integer(used['trained'])} of them trained"
    if len(document["inputs"]["looks"]) == 1:
        return text
    parts = [
        f"{used[name] / planned[name]:.2f} of the {integer(planned[name])} {what}"
        for name, what in (("drawn", "planned"), ("trained", "trainings planned"))
        if planned[name]
    ]
    return f"{text}: {', '.join(parts)}, in up to {count(len(document['inputs']['looks']), 'look')}"


def points_used(document: Mapping[str, Any], trained: Sequence[int]) -> str:
    """``Networks were trained on 64 or 128 of its 1438 training points; measures are averages over its 8 test points.``

    Args:
        document: what ``verdicts.json`` holds.
        trained: numbers of training points that trained networks saw.
    """
    data, used = document["inputs"]["data"], document["values"]["networks"]["used"]
    # Arithmetic is averaged over none.
    averaged = sorted({one["points"] for one in document["values"]["verdicts"]} - {0}) or [document["inputs"]["points"]]
    parts = []
    if not used["trained"]:
        parts.append("no network was trained")
    elif trained:
        parts.append(f"networks were trained on {_of_its(trained, data['n'], 'training point')}")
    if used["drawn"]:
        parts.append(f"measures are averages over {_of_its(averaged, data['n_test'], 'test point')}")
    sentence = "; ".join(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}." if parts else ""


def _of_its(sizes: Sequence[int], whole: int, what: str) -> str:
    """``64 or 128 of its 1 438 training points``, or all of them: ``its 1 438 training points``."""
    if list(sizes) == [whole]:
        return f"its {count(whole, what)}"
    listed = ", ".join(map(integer, sizes[:-1])) + (" or " if len(sizes) > 1 else "") + integer(sizes[-1])
    return f"{listed} of its {count(whole, what)}"


def axis_name(axis: str) -> str:
    """An axis of a grid in words."""
    return _AXES.get(axis, axis.replace("_", " "))


def axis_value(value: Any) -> str:
    """A value on an axis; long ones (initializations made by hand) are cut."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return tick(value)
    return cut(str(value), _LONGEST_VALUE)


def cut(text: str, longest: int) -> str:
    """So many characters of a text, the last of them ``…`` if there were more."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def coordinates(of: Iterable[tuple[str, Any]]) -> str:
    """``he, depth 4, width 64``: numbers need the name of their axis, names speak for themselves."""
    return ", ".join(
        axis_value(value) if isinstance(value, str) else f"{axis_name(axis)} {axis_value(value)}" for axis, value in of
    )


def ranges(of: Mapping[str, Sequence[Any]]) -> str:
    """``he, lecun; depth 2, 4; width 64``."""
    parts = []
    for axis, values in of.items():
        listed = ", ".join(map(axis_value, values))
        parts.append(listed if all(isinstance(value, str) for value in values) else f"{axis_name(axis)} {listed}")
    return "; ".join(parts)


_STATED = {"equals": "stated"} | dict.fromkeys(("at_most", "at_least", "order_at_most", "order_at_least"), "bound")


_OVER = {"range": "over the whole range", "neighbours": "between any two neighbouring values"}


def stated_name(relation: Mapping[str, Any]) -> str | None:
    """What the number is called that a relation compares the measure with; None if it compares cells."""
    return _STATED.get(relation["kind"])


def relation(of: Mapping[str, Any]) -> str:
    """What a relation says of the measure, as the end of a sentence."""
    margin = "" if of["margin"] is None else f"{of['margin']:.0%}"
    match of["kind"]:
        case "equals":
            return f"equals the stated value, to within {margin}"
        case "at_most":
            return "is at most the stated bound, in every cell"
        case "at_least":
            return "is at least the stated bound, in every cell"
        case "order_at_most" | "order_at_least":
            side, change = ("most", "growing") if of["kind"] == "order_at_most" else ("least", "falling")
            return (
                f"is at {side} a constant times the stated bound, with no constant given: what counts against it is "
                f"measured/bound {change} by more than {of['growth'] - 1:.0%} per doubling at the far end of an axis"
            )
        case "scales_as":
            return (
                f"scales as a power of {axis_name(of['axis'])}, with exponent {number(of['power'])} to within "
                f"{of['margin']:g}, {_OVER[of.get('over') or 'neighbours']}"
            )
        case "turns":
            turned = ("rises to a turning point", "falls") if of["sign"] > 0 else ("falls to a turning point", "rises")
            return (
                f"{turned[0]} in {axis_name(of['axis'])} and {turned[1]} from there; on either side up to {margin} "
                "the other way is tolerated"
            )
    return f"{of['text']}; between two values of {axis_name(of['axis'])}, up to {margin} the other way is tolerated"


def paper(claim_id: str) -> str:
    """The first part of an id."""
    return claim_id.partition("/")[0]


def by_paper(verdicts: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Verdicts grouped by the paper they are about, in the order they come."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for verdict in verdicts:
        groups.setdefault(paper(verdict["claim"]), []).append(verdict)
    return groups


def base_id(claim_id: str) -> str:
    """An id without its reading."""
    return claim_id.partition("@")[0]


def telling_ids(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ids that tell verdicts apart and can be typed: with the reading where a claim stands in several of them."""
    times = Counter(base_id(verdict["claim"]) for verdict in verdicts)
    return [
        verdict["claim"] if times[base_id(verdict["claim"])] > 1 else base_id(verdict["claim"]) for verdict in verdicts
    ]


def short_reading(verdict: Mapping[str, Any]) -> str:
    """When networks are compared, in as few characters as say it."""
    reading = verdict["reading"]
    value = reading["value"]
    when = {
        "initialization": "untrained",
        "equal scaled time": f"t·λ = {value:g}" if value else "",
        "equal time": f"one t·λ = {value:g}" if value else "",
        "equal loss": f"loss {value:g}" if value else "",
        "fixed steps": f"{value} steps",
        "converged": "t = ∞",
    }.get(reading["time"]) or reading["text"]
    # Documents of before there was a choice hold no optimizer, which was gradient descent, and no adversary.
    adversary = reading.get("adversary")
    if adversary:
        when += f" of {_short_adversary(adversary, verdict['grid'].get('strength', [adversary['strength']]))}"
    elif value is not None:
        usual = "gd" if reading["time"] == "fixed steps" else "gradient_flow"
        if (optimizer := reading.get("optimizer", "gd")) != usual:
            when += f" of {_OPTIMIZERS.get(optimizer, optimizer)}"
    return when if reading["functional"] == "mean" else f"{when}, {reading['functional']}"


def _short_adversary(adversary: Mapping[str, Any], strengths: Sequence[float]) -> str:
    """``PGD, λ = 1``; a range where the strength varies."""
    name, symbol = {
        "generalized": ("PGD", "λ"),
        "trades": ("TRADES", "β"),
        "jacobian": ("‖J‖²", "λ"),
        "interval": ("intervals", "λ"),
    }[adversary["objective"]]
    ends = " to ".join(f"{end:g}" for end in dict.fromkeys((strengths[0], strengths[-1])))
    return f"{name}, {symbol} = {ends}"
