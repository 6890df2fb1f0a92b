import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.golden.factories import answer_row, jsonl
from workbench.core.errors import InvalidInput
from workbench.golden.formats import parse_case, read_jsonl
from workbench.golden.leaks import RUN, find_leaks, words

WORDS = ["account", "card", "loan", "fee", "bank", "rate", "limit", "open", "close", "pay"]


def test_a_bare_fact_is_one_wording() -> None:
    (case,) = read_jsonl("answers", jsonl(answer_row(must_state=["2 EUR", ["instant", "at once"]])))
    assert case.content["must_state"] == [["2 EUR"], ["instant", "at once"]]


def test_tags_may_stand_beside_the_content() -> None:
    case = parse_case("triage", {"text": "a", "label": "b", "language": "vi", "confusion": True, "intent": ""})
    assert case.tags == {"language": "vi", "confusion": True}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"must_state": [], "must_not_state": [], "format": {}}, "checks nothing"),
        ({"must_state": [[]]}, "list of wordings"),
        ({"format": {"max_sentences": 0}}, "max_sentences"),
        ({"format": {"max_sentences": True}}, "max_sentences"),
        ({"format": {"citations": True}}, "format"),
        ({"format": {"decline": True}}, "decline"),
        ({"question": " "}, "question"),
        ({"question": "x" * 4001}, "4,001 characters"),
        ({"must_not_state": "never"}, "must_not_state"),
        ({"tags": ["en"]}, "tags"),
    ],
)
def test_an_answers_case_that_cannot_be_checked_says_why(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_case("answers", answer_row(**changes))


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_other_json_line_is_named(value: object) -> None:
    for task in ("triage", "answers"):
        with pytest.raises(InvalidInput, match="Line 1"):
            read_jsonl(task, json.dumps(value))


@given(st.lists(st.sampled_from(WORDS), min_size=RUN, max_size=30))
def test_a_copied_run_of_words_is_always_found(text: list[str]) -> None:
    golden = " ".join(text)
    copied = "Before this. " + " ".join(text[-RUN:]).upper() + ", and after."
    assert find_leaks([copied], [golden])


def test_accents_do_not_hide_a_copy() -> None:
    assert words("Cuánto más") == ["cuanto", "mas"]


def test_a_short_golden_text_leaks_only_whole() -> None:
    assert find_leaks(["Question: Card lost\nAnswer:"], ["card lost!"])
    assert not find_leaks(["My card was lost yesterday"], ["card lost!"])
    assert find_leaks(["ask: how do I block a card now?"], ["How do I block a card?"])
