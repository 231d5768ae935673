"""What the bench says about what it measured."""

from __future__ import annotations

import pytest

from bench import apply_to_served, figures
from bench.figures import Figure

FIGURE = Figure("apply-to-served", ours=(4.0, 5.0, 6.0), other=(4.0, 4.0, 10.0))


def test_the_ratio_is_of_medians() -> None:
    """One slow outlier on either side does not move the ratio."""
    assert FIGURE.ratio == pytest.approx(1.25)


def test_results_have_the_published_shape() -> None:
    """results.json maps a figure's name to ours, other, ratio, unit and runs."""
    assert figures.results([FIGURE]) == {
        "apply-to-served": {"ours": 5.0, "other": 4.0, "ratio": 1.25, "unit": "s", "runs": 3}
    }


def test_the_table_shows_the_spread() -> None:
    """A reader sees both medians, their ratio, and how far the runs lie apart."""
    header, row = figures.table([FIGURE]).splitlines()
    assert header.split()[:4] == ["figure", "ours", "other", "ratio"]
    for cell in ("5.00 s", "4.00 s", "1.25", "4.00 … 6.00", "4.00 … 10.00"):
        assert cell in row


def test_a_new_version_has_the_same_size_and_other_bytes() -> None:
    """Nothing but the sixteen digits of the stamp changes, so that size cannot explain a difference."""
    module = b"\0asm....version-stamp:0000000000000000...."
    new = apply_to_served.stamped(module, "cafe")
    assert new == b"\0asm....version-stamp:000000000000cafe...."


def test_both_ways_ask_for_the_same() -> None:
    """Selector, phase and fail strategy are equal: only the way differs."""
    ours = apply_to_served.plugin_release("r/p@sha256:1")["spec"]
    other = apply_to_served.wasm_plugin("r/p@sha256:1")["spec"]
    assert [entry["selector"] for entry in ours["gateways"]] == [other["selector"]]
    assert (ours["plugin"]["phase"], ours["plugin"]["failStrategy"]) == (other["phase"], other["failStrategy"])
    assert f"oci://{ours['artifact']['image']['ref']}" == other["url"]
