"""Notes on a whole run: what the noise of its pairs says about the declared encoding."""

import pytest

from localblur.alignment.run_notes import encoding_note, run_notes

NAN = float("nan")


@pytest.mark.parametrize("exponents", [[], [NAN, NAN], [0.9, 1.1, NAN], [-0.8, 1.0, 1.1], [0.6]])
def test_noise_as_it_should_be_or_unknown_says_nothing(exponents: list[float]) -> None:
    assert encoding_note("rec", exponents) == ""


def test_coded_values_declared_linear_are_named() -> None:
    assert encoding_note("rec", [-0.8, -0.2, NAN, 0.9]) == (
        "wrong encoding? the noise of rec grows with the light to the power of -0.2 instead of 1: are these values"
        " sRGB-coded, although declared linear? (--encoding srgb)"
    )


def test_linear_values_declared_coded_are_named() -> None:
    note = encoding_note("rec", [1.5, 1.6])
    assert note.endswith("linear, although declared sRGB-coded? (--encoding linear)")
    assert "power of 1.6" in note or "power of 1.5" in note


def test_each_input_is_judged_on_its_own() -> None:
    pairs = [("good", "a/00", {"noise_exponent": 1.0}), ("bad", "b/00", {"noise_exponent": -0.5}), ("old", "c/00", {})]
    notes = run_notes(pairs, 2.0)
    assert len(notes) == 1
    assert "the noise of bad" in notes[0]
