"""Whatever a file holds: is the answer always a document or faults, and never another exception?"""

from __future__ import annotations

from pathlib import Path

from fakes import FILES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.errors import Fault, InputError
from sim.experiment import load
from sim.files import load_spec
from sim.files.loader import parse_document

PIECES = st.sampled_from(
    [
        "a", "b", ": ", "- ", "\n", "  ", "[", "]", "{", "}", ",", "&x", "*x", "!t", "'", '"', "#", "|",
        ">", "?", "010", "1e6", "no", "~", "<<", "value", "quality", "---", "...", "%", "@", "\t", "é",
        "\u2028", "10 ns", "-1",
    ]
)  # fmt: skip
REPLACEMENTS = st.sampled_from(
    [
        "", "0", "-1", "1e300", "[]", "{}", "[[1]]", "{value: 1}", "null", "true", "x", "'", "*a",
        "&a b", "1e999 ns", "-5 ns", "é", ": ", "name", "9" * 30, "!t", "\n", "  ",
    ]
)  # fmt: skip
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=30).map("".join)))
def test_is_any_text_a_document_or_faults(text: str) -> None:
    faults: list[Fault] = []
    document = parse_document(text, "f.yaml", faults)
    assert document is not None or faults
    if document is not None:
        assert all(path in document.positions for path in [(), *((key,) for key in document.tree)])


@QUICK
@given(data=st.data())
def test_is_any_damage_to_an_experiment_or_its_files_an_input_error_at_worst(
    house: Path, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(FILES)))
    words = FILES[name].split(" ")
    words[data.draw(st.integers(0, len(words) - 1))] = data.draw(REPLACEMENTS)
    (house / name).write_text(" ".join(words))
    try:
        assert load("pair").points
        load_spec("machine", "large")
    except InputError:
        pass
    finally:
        (house / name).write_text(FILES[name])
