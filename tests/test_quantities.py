"""Rule 1: units are parsed once, at the border; a number without a unit is an error."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import get_args

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.quantities import (
    Bandwidth,
    Cost,
    CycleCost,
    Duration,
    Frequency,
    Size,
    UnitError,
    WallTime,
    format_duration,
    parse_bandwidth,
    parse_cost,
    parse_duration,
    parse_frequency,
    parse_size,
)

NOT_A_QUANTITY = [
    "120",
    120,
    1.5,
    True,
    None,
    "",
    "ns",
    "1 parsec",
    "1 NS",
    "1 2 ns",
    "1,5 ns",
    "nan ns",
    "+",
]
PARSERS = [parse_duration, parse_size, parse_frequency, parse_bandwidth, parse_cost]


class Quantities(pydantic.BaseModel):
    duration: Duration
    size: Size
    frequency: Frequency
    bandwidth: Bandwidth
    cost: Cost


@pytest.mark.parametrize(
    ("text", "ps"),
    [
        ("250 ps", 250),
        ("120 ns", 120_000),
        ("120ns", 120_000),
        ("  120   ns  ", 120_000),
        ("0 s", 0),
        ("-0 s", 0),
        ("1.5 us", 1_500_000),
        ("1.5 µs", 1_500_000),
        ("10 ms", 10**10),
        ("3 s", 3 * 10**12),
        ("1e3 ns", 10**6),
        ("2.5e-3 us", 2_500),
        ("+1 ns", 1_000),
        ("1_000 ns", 10**6),
        ("0.3 ns", 300),
        ("0.1 us", 100_000),
        ("0.4 ps", 0),
        ("0.6 ps", 1),
    ],
)
def test_how_many_picoseconds_is_a_duration(text: str, ps: int) -> None:
    assert parse_duration(text) == ps
    assert type(parse_duration(text)) is int


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64 B", 64),
        ("16 KiB", 16 << 10),
        ("2 MiB", 2 << 20),
        ("1.5 GiB", 3 << 29),
        ("1 TiB", 1 << 40),
        ("1 page", 4096),
        ("4 pages", 16384),
    ],
)
def test_how_many_bytes_is_a_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "hertz"),
    [("50 Hz", 50), ("3 kHz", 3_000), ("2.25 GHz", 2_250_000_000), ("2250 MHz", 2_250_000_000)],
)
def test_how_many_hertz_is_a_frequency(text: str, hertz: int) -> None:
    assert parse_frequency(text) == hertz


@pytest.mark.parametrize(
    ("text", "rate"),
    [("1 B/s", 1), ("5 MB/s", 5_000_000), ("30 GB/s", 30 * 10**9), ("2 GiB/s", 2 << 30)],
)
def test_how_many_bytes_a_second_is_a_bandwidth(text: str, rate: int) -> None:
    assert parse_bandwidth(text) == rate


@pytest.mark.parametrize(
    ("text", "cycles", "fixed_ps"),
    [
        ("110 cycles", 110, 0),
        ("1 cycle", 1, 0),
        ("98 ns", 0, 98_000),
        ("110 cycles + 98 ns", 110, 98_000),
        ("98 ns + 110 cycles", 110, 98_000),
        ("1.5 cycles+2 cycle+3 ns+250 ps", 3.5, 3_250),
        ("1e+2 cycles + 1E+1 ns", 100, 10_000),
    ],
)
def test_which_part_of_a_cost_follows_the_clock(text: str, cycles: float, fixed_ps: int) -> None:
    assert parse_cost(text) == CycleCost(cycles, fixed_ps)


@pytest.mark.parametrize(
    ("cost", "hertz", "ps"),
    [
        (CycleCost(110, 98_000), 10**9, 208_000),
        (CycleCost(110, 98_000), 2 * 10**9, 153_000),
        (CycleCost(1, 0), 3 * 10**9, 333),
        (CycleCost(0, 7), 3 * 10**9, 7),
    ],
)
def test_what_does_a_cost_come_to_on_a_core(cost: CycleCost, hertz: int, ps: int) -> None:
    assert cost.at(hertz) == ps


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("text", NOT_A_QUANTITY, ids=repr)
def test_is_anything_without_a_number_and_a_known_unit_refused(parse: object, text: object) -> None:
    with pytest.raises(UnitError, match="write"):
        parse(text)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_duration, "-1 ns", "a duration cannot be negative"),
        (parse_size, "-1 B", "a size cannot be negative"),
        (parse_cost, "-1 cycles", "a cost cannot be negative"),
        (parse_cost, "5 cycles + -1 cycles", "a cost cannot be negative"),
        (parse_cost, "5 cycles + -1 ns", "a cost cannot be negative"),
        (parse_frequency, "0 GHz", "a frequency cannot be zero"),
        (parse_bandwidth, "0 GB/s", "a bandwidth cannot be zero"),
        (parse_duration, "1e400 s", "too large"),
        (parse_cost, "1e400 cycles", "too large"),
        (parse_size, "16 KB", "KiB, MiB, GiB"),
        (parse_duration, "3 GHz", "ps, ns, us"),
        (parse_cost, "3 KiB", "cycles"),
    ],
)
def test_does_the_message_say_what_is_wrong(parse: object, text: str, message: str) -> None:
    with pytest.raises(UnitError, match=message):
        parse(text)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("ps", "text"),
    [
        (0, "0 ps"),
        (999, "999 ps"),
        (1_250_000, "1.25 us"),
        (-2_500, "-2.5 ns"),
        (3 * 10**12, "3 s"),
        (10**10, "10 ms"),
        (7.25, "7.25 ps"),
    ],
)
def test_how_is_a_duration_shown(ps: float, text: str) -> None:
    assert format_duration(ps) == text


WHOLE = st.integers(0, 2**50)


@given(
    duration=WHOLE, size=WHOLE, frequency=WHOLE.filter(bool), bandwidth=WHOLE.filter(bool), fixed_ps=WHOLE,
    cycles=st.floats(0, 1e9),
)  # fmt: skip
def test_does_a_dumped_model_read_back_equal(
    duration: int, size: int, frequency: int, bandwidth: int, fixed_ps: int, cycles: float
) -> None:
    quantities = Quantities.model_construct(
        duration=duration,
        size=size,
        frequency=frequency,
        bandwidth=bandwidth,
        cost=CycleCost(cycles, fixed_ps),
    )
    assert Quantities.model_validate(quantities.model_dump()) == quantities
    assert Quantities.model_validate_json(quantities.model_dump_json()) == quantities


QUANTITY = r"[+-]?[0-9]{1,400}(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,4})? ?(ns|cycles|KiB|GHz|GB/s)"


@given(st.text() | st.from_regex(QUANTITY, fullmatch=True))
def test_is_the_answer_to_any_text_a_number_or_a_unit_error(text: str) -> None:
    for parse in PARSERS:
        with suppress(UnitError):
            assert parse(text) is not None


@pytest.mark.parametrize(
    "quantity",
    [Duration, Size, Frequency, Bandwidth, WallTime, Cost],
    ids=["duration", "size", "frequency", "bandwidth", "wall", "cost"],
)
def test_is_a_serializer_a_function_that_every_python_describes_alike(quantity: object) -> None:
    """pydantic asks for its signature; that of a built-in one differs between Python versions."""
    [serializer] = [part for part in get_args(quantity) if isinstance(part, pydantic.PlainSerializer)]
    assert inspect.isfunction(serializer.func)
    assert len(inspect.signature(serializer.func).parameters) == 1
