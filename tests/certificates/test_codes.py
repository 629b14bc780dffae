"""Codes: random, checked, and forgiving."""

from __future__ import annotations

import pytest

from domain.certificate_codes import ALPHABET, SYMBOLS, Mistyped, make_code, read_code, show_code

# The value of 23 symbols "1" is 1 + 32 + ... + 32**22; modulo 37 that is 14, which is written E.
ONES = "1" * 23 + ALPHABET[sum(32**n for n in range(23)) % 37]


def test_codes_have_more_than_100_random_bits_and_are_plain() -> None:
    codes = {make_code() for _ in range(500)}
    assert len(codes) == 500
    assert {len(code) for code in codes} == {SYMBOLS + 1}
    assert set("".join(codes)) == set(ALPHABET)
    # Picking a check symbol that is plain in an address keeps 32 of 37 codes.
    assert 5 * SYMBOLS - 0.21 >= 100


def test_a_code_is_read_however_it_is_written_down() -> None:
    code = make_code()
    for typed in (code, code.lower(), show_code(code), f" {show_code(code).lower()} ", "-".join(code)):
        assert read_code(typed) == code
    assert show_code(code).count("-") == 3


def test_o_is_zero_and_i_and_l_are_one() -> None:
    zeros = "0" * 24
    assert read_code("o" * 12 + "O" * 12) == read_code(zeros) == zeros
    assert read_code(ONES.replace("1", "l")) == read_code(ONES.replace("1", "I")) == ONES


def test_every_wrong_letter_and_every_swap_is_noticed() -> None:
    code = make_code()
    for place in range(len(code)):
        for other in ALPHABET:
            if other != code[place]:
                with pytest.raises(Mistyped):
                    read_code(code[:place] + other + code[place + 1 :])
    # Swaps within what is random: the check is modulo a prime.
    for place in range(SYMBOLS - 1):
        if code[place] != code[place + 1]:
            with pytest.raises(Mistyped):
                read_code(code[:place] + code[place + 1] + code[place] + code[place + 2 :])


@pytest.mark.parametrize("typed", ["", "x", "U" * 24, "1" * 23, "1" * 25, "ä" * 24, "*" * 24])
def test_what_cannot_be_a_code_is_refused(typed: str) -> None:
    with pytest.raises(Mistyped):
        read_code(typed)
