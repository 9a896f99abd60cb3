"""The plugin that holds printed numbers says what differs, and only that."""

import pytest
from nbformat.v4 import new_code_cell, new_output

from tests.pages import numbers, same


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("12", "12"),
        ("12", "13"),
        ("1.00", "1.01"),
        ("1,234", "1,240"),
        ("−0.5", "-0.5"),
        ("3e-12", "8e-15"),
        ("100", "102"),
    ],
)
def test_rounding_and_the_last_digit_do_not_count(one: str, two: str) -> None:
    assert same(one, two)


@pytest.mark.parametrize(
    ("one", "two"), [("12", "14"), ("1.00", "1.03"), ("0.5", "−0.5"), ("1e-3", "3e-3"), ("100", "104")]
)
def test_everything_else_does(one: str, two: str) -> None:
    assert not same(one, two)


def test_numbers_of_text_and_tables_are_read_those_of_pictures_are_not() -> None:
    cell = new_code_cell()
    cell.outputs = [
        new_output("stream", name="stdout", text="2 solves, 0.25 mV at (0.4, -1e-3) V"),
        new_output("execute_result", data={"text/html": "<table>…", "text/plain": "T2  17 of 1,125"}),
        new_output("display_data", data={"text/plain": "<Figure size 600x300>"}),
    ]
    assert numbers(cell) == ["2", "0.25", "0.4", "-1e-3", "17", "1,125"]
