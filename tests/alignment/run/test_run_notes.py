"""Notes on a whole run: what the noise of its pairs says about the declared encoding."""

import pytest

from localblur.alignment.run.inputs import Coding
from localblur.alignment.run.run_notes import encoding_note, run_notes

NAN = float("nan")


@pytest.mark.parametrize("exponents", [[], [NAN, NAN], [0.9, 1.1, NAN], [-0.8, 1.0, 1.1], [0.6]])
def test_noise_as_it_should_be_or_unknown_says_nothing(exponents: list[float]) -> None:
    assert encoding_note("rec", exponents, "linear") == encoding_note("rec", exponents, "srgb") == ""


def test_coded_values_declared_linear_are_named() -> None:
    assert encoding_note("rec", [-0.8, -0.2, NAN, 0.9], "linear") == (
        "wrong encoding? the noise of rec grows with the light to the power of -0.2 instead of 1: are these values"
        " sRGB-coded, although declared linear? (--encoding srgb)"
    )


def test_linear_values_declared_coded_are_named() -> None:
    note = encoding_note("rec", [1.5, 1.6], "srgb")
    assert note.endswith("linear, although declared sRGB-coded? (--encoding linear)")
    assert "power of 1.6" in note or "power of 1.5" in note


def test_a_recording_is_told_what_a_camera_can_do_about_it() -> None:
    note = encoding_note("rec", [-0.5], "raw")
    assert note.endswith("is a gamma curve or noise reduction switched on in the cameras?")


@pytest.mark.parametrize(("exponent", "coding"), [(-0.5, "srgb"), (1.6, "linear"), (1.6, "raw")])
def test_what_another_encoding_would_not_explain_is_not_called_one(exponent: float, coding: Coding) -> None:
    assert encoding_note("rec", [exponent], coding) == ""


def measures(exponent: float, residual_px: float = 0.01) -> dict[str, float]:
    return {"noise_exponent": exponent, "residual_p50_px": residual_px}


def test_the_difference_of_pairs_that_do_not_fit_is_not_taken_for_noise() -> None:
    pairs = [("rec", f"s/{index}", measures(-0.5, NAN)) for index in range(3)]
    assert run_notes([("rec", "s/9", measures(1.0)), *pairs], {"rec": "linear"}, 2.0) == []


def test_each_input_is_judged_on_its_own() -> None:
    pairs = [("good", "a/00", measures(1.0)), ("bad", "b/00", measures(-0.5)), ("old", "c/00", measures(NAN))]
    notes = run_notes(pairs, {"good": "linear", "bad": "linear", "old": "linear"}, 2.0)
    assert len(notes) == 1
    assert "the noise of bad" in notes[0]
