"""The same claims on several data sets, judged together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ntkrobust as ntr
from ntkrobust.bounds.claims import AtLeast, Claim
from ntkrobust.errors import InputError
from ntkrobust.reports.several import folders, several_html, together

PLANTED = Claim(
    "own/planted", r"$P/\varepsilon$ is at least 0.08", AtLeast(lambda: 0.08), "perturbation_stability",
    {"initialization": ("he",), "depth": (2,), "width": (64,)}, draws=8,
)  # fmt: skip
NARROW, WIDE = "sphere:d=64,n=40", "sphere:d=784,n=40"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[ntr.VerdictsByData, Path]:
    folder = tmp_path_factory.mktemp("several")
    return ntr.verify([PLANTED], data=[NARROW, WIDE], out=folder), folder


def test_a_claim_that_holds_in_64_dimensions_and_fails_in_784_is_told_apart(
    found: tuple[ntr.VerdictsByData, Path],
) -> None:
    # By the exact law P/ε is 0.135 at d = 64, and 0.040 at d = 784.
    law = {
        d: ntr.exact_law(ntr.MLP(depth=2, width=64, initialization="he"), d).perturbation_stability() for d in (64, 784)
    }
    assert law[64] > 0.08 > law[784]
    verdicts, _ = found
    assert list(verdicts) == [NARROW, WIDE]
    assert [one[0].label for one in verdicts.values()] == ["supported", "refuted"]
    (said,) = verdicts.said
    assert "it holds on" in said
    assert "and fails on" in said
    frame = verdicts.to_dataframe()
    assert frame.shape == (1, 2)
    assert list(frame.iloc[0]) == ["supported", "refuted"]
    assert "784" in verdicts._repr_html_()


def test_each_data_set_has_its_folder_and_all_of_them_a_page(found: tuple[ntr.VerdictsByData, Path]) -> None:
    verdicts, folder = found
    document = json.loads((folder / "several.json").read_text())
    assert [one["name"] for one in document["inputs"]["data"]] == list(verdicts)
    page = (folder / "report.html").read_text()
    for one in document["inputs"]["data"]:
        own = folder / one["folder"]
        assert json.loads((own / "verdicts.json").read_text())["inputs"]["data"]["name"] == one["described"]
        assert (own / "evidence" / "evidence.nc").is_file()
        assert (own / "report.html").is_file()
        assert f'href="{one["folder"]}/report.html"' in page


def test_levels_are_adjusted_over_all_data_sets(found: tuple[ntr.VerdictsByData, Path]) -> None:
    alone = ntr.verify([PLANTED], data=WIDE)[0]
    with_others = found[0][list(found[0])[1]][0]
    # Holm's method over two statements: the smallest p-value counts twice.
    assert with_others.p_value == pytest.approx(2 * alone.p_value, rel=1e-6)


def test_what_data_sets_say_together_is_said_in_words() -> None:
    def on(*labels: str) -> list[dict]:
        return [{"data": f"set {index}", "label": label, "effect": None} for index, label in enumerate(labels)]

    assert together(on("supported", "supported")) == "supported on all 2"
    assert together(on("supported", "refuted", "inconclusive")) == (
        "it holds on set 0, and fails on set 1: not a property of networks alone; inconclusive on set 2"
    )
    assert together(on("refuted", "out of scope")) == "refuted on set 0; out of scope on set 1"


def test_folders_are_names_that_differ() -> None:
    assert folders(["a b", "A/B", "../..", "ä"]) == ["a-b", "a-b-2", "data", "data-2"]


def test_names_of_data_sets_are_no_instructions() -> None:
    name = "<script>alert(1)</script>"
    document = {
        "inputs": {"data": [{"name": name, "folder": "x", "described": f"{name} of a file"}]},
        "values": {"claims": [{"claim": name, "said": name, "on": [{"data": name, "label": "flat", "effect": None}]}]},
    }
    for page in (False, True):
        assert "<script>" not in several_html(document, page=page)


def test_what_is_no_list_of_data_sets_is_refused() -> None:
    with pytest.raises(InputError, match="at least one name, file or data set"):
        ntr.verify([PLANTED], data=[])
    with pytest.raises(InputError, match="two of the data sets are"):
        ntr.verify([PLANTED], data=[NARROW, NARROW])
