"""Moments that float64 can't hold are said to be beyond it, not zero."""

import json
import sys

import mpmath
import pytest

from ntkrobust.cli.law import law


@pytest.mark.parametrize("depth", [3000, 2140])
def test_moments_below_float64_are_null_with_a_status(depth, capsys, figure):
    law(depth=depth, width=64, d_in=64, initialization="lecun", as_json=True)
    values = json.loads(capsys.readouterr().out)["values"]
    # E (∂_u f)² = A² (m/2)^{L−1} with LeCun's A² = d⁻¹ m^{1−L}: 2^{1−L}/d
    right = mpmath.mpf(2) ** (1 - depth) / 64
    figure(f"LeCun, depth {depth}: E(∂_u f)²", values["second_moment"], mpmath.nstr(right, 3), "2^(1−L)/d, mpmath")
    assert right < 2.3e-308
    assert values["second_moment"] is None
    assert "second_moment" in values["status"]


def test_a_moment_that_is_held_is_given(capsys):
    law(depth=900, width=64, d_in=64, initialization="lecun", as_json=True)
    values = json.loads(capsys.readouterr().out)["values"]
    assert values["second_moment"] == pytest.approx(float(mpmath.mpf(2) ** -899 / 64), rel=1e-10)


def test_zeros_let_through_would_be_noticed(capsys, monkeypatch):
    class Lax:
        float_info = type("", (), {"min": 0.0})

    monkeypatch.setattr(sys.modules["ntkrobust.cli.law"], "sys", Lax)
    law(depth=3000, width=64, d_in=64, initialization="lecun", as_json=True)
    assert json.loads(capsys.readouterr().out)["values"]["second_moment"] == 0
