"""Products of many floats beside a bound: the enclosures that decide, and the search that asks."""

from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from indrnn_np.analysis import _exact as exact


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=70), st.integers(0, 40), st.integers(8, 200))
@settings(max_examples=200)
def test_an_enclosure_encloses_however_few_bits_it_has(factors: list[float], n: int, bits: int) -> None:
    whole = math.prod(map(Fraction, factors), start=Fraction(1))
    low, high, exponent = exact.product(factors, bits)
    assert low * Fraction(2) ** exponent <= whole <= high * Fraction(2) ** exponent
    low, high, exponent = exact.power(exact.exactly(factors[0]), n, bits)
    assert low * Fraction(2) ** exponent <= Fraction(factors[0]) ** n <= high * Fraction(2) ** exponent
    assert high.bit_length() <= bits + 1


@given(st.floats(0, 1e9), st.integers(1, 30), st.booleans())
@settings(max_examples=200)
def test_the_side_of_a_bound_is_decided_even_where_nothing_lies_between(x: float, n: int, small: bool) -> None:
    bound = float(Fraction(x) ** n) if not small and x ** n < 1e300 else x
    whole = Fraction(x) ** n
    expected = (whole > Fraction(bound)) - (whole < Fraction(bound))
    assert exact.side(lambda bits: exact.power(exact.exactly(x), n, bits), bound) == expected


@given(st.integers(0, 2000), st.integers(-50, 3000), st.integers(2000, 2500))
def test_the_search_finds_the_first_from_any_guess(answer: int, guess: int, limit: int) -> None:
    assert exact.first(lambda n: n >= answer, guess, limit) == answer
