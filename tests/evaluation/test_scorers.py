import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.settings import REPOSITORY
from workbench.evaluation.normalise import normalise, states
from workbench.evaluation.scorers import declines, score_answer, score_triage, sentences
from workbench.golden.formats import read_jsonl

CASE = {
    "question": "What does a transfer cost?",
    "evidence": ["transfer-fees"],
    "must_state": [["2 EUR", "two euros"], ["same day"]],
    "must_not_state": ["free of charge"],
    "format": {"max_sentences": 2, "citation": True, "decline": False},
}


@pytest.mark.parametrize(
    "spelling", ["€1,234.50", "1.234,50 €", "EUR 1 234,5", "1234.50 euros", "1’234.50 EUR", "eur 1,234.5", "1.234,5 Euro"]
)
def test_amounts_are_the_same_however_they_are_written(spelling: str) -> None:
    assert normalise(f"It costs {spelling}.") == "it costs 1234.5 eur"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("3,125 %", "3.125 %"),
        ("3.125 percent", "3.125 %"),
        ("0.500 kg", "0.5 kg"),
        ("10.000 ₫", "10000 vnd"),
        ("10,000 VND", "10000 vnd"),
        ("$20", "20 usd"),
        ("20 dólares", "20 usd"),
        ("Miễn phí đổi thẻ", "mien phi doi the"),
        ("Cuánto TARDA?", "cuanto tarda"),
        ("12–14 days", "12 14 days"),
        ("Costs 2 EUR [transfer-fees].", "costs 2 eur"),
        ("5 phần trăm", "5 %"),
        ("100 por ciento", "100 %"),
    ],
)
def test_normal_forms(text: str, normal: str) -> None:
    assert normalise(text) == normal


@given(st.text())
def test_any_text_becomes_words_with_single_spaces(text: str) -> None:
    normal = normalise(text)
    assert normal == " ".join(normal.split())
    assert normalise(f"«{text.upper()}»".lower()) == normalise(text.upper().lower())


@given(st.integers(0, 10**9), st.integers(0, 99))
def test_english_and_spanish_amounts_meet(whole: int, cents: int) -> None:
    english = f"{whole:,}.{cents:02d}"
    spanish = english.translate(str.maketrans(",.", ".,"))
    assert normalise(f"€{english}") == normalise(f"{spanish} €")


def test_only_whole_words_state_a_fact() -> None:
    assert not states(normalise("It costs 12 EUR"), "2 EUR")
    assert not states(normalise("a carefree life"), "free")


def test_a_good_answer_passes_every_check() -> None:
    score = score_answer(CASE, "A transfer costs €2.00 and arrives the same day [transfer-fees].", cited=["transfer-fees"])
    assert score.passed
    assert score.score == 1.0


def test_each_missing_thing_is_a_check_of_its_own() -> None:
    score = score_answer(CASE, "Transfers are free of charge. Really. Always.", cited=["other"])
    assert {check.kind for check in score.checks if not check.ok} == {
        "must_state",
        "must_not_state",
        "max_sentences",
        "citation",
    }
    assert score.score == pytest.approx(1 / 6)
    assert [check.detail for check in score.checks if check.kind == "citation"] == ["cites other"]


def test_naming_a_source_does_not_state_its_facts() -> None:
    case = {"must_state": [["transfer fees"]], "format": {}}
    assert not score_answer(case, "See [transfer-fees]. It depends.").passed


def test_silence_is_worth_nothing() -> None:
    assert score_answer({"must_not_state": ["guaranteed"], "format": {"max_sentences": 1}}, " … ").score == 0.0


def test_a_decline_is_recognised_where_one_is_expected() -> None:
    case = {"must_state": [], "format": {"decline": True, "max_sentences": 2}}
    assert score_answer(case, "I cannot answer that from our certified information.").passed
    assert not score_answer(case, "The rate is 4%.").passed
    assert score_answer(case, "The rate is 4%.", declined=True).passed


@pytest.mark.parametrize(
    "text",
    [
        "I don't have that information.",
        "I don’t know.",
        "No tengo información sobre eso.",
        "No puedo responder a esa pregunta.",
        "Tôi không có thông tin về việc này.",
        "There is no certified information about this.",
    ],
)
def test_declines_in_three_languages(text: str) -> None:
    assert declines(text)


@pytest.mark.parametrize("text", ["There is no fee.", "No cuesta nada.", "Phí là 2 EUR.", "You cannot lose it."])
def test_answers_are_no_declines(text: str) -> None:
    assert not declines(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("One", 1),
        ("It costs 2.50 EUR, e.g. for a card. It is fast!", 2),
        ("It costs 2 EUR. [transfer-fees]", 1),
        ("Really?! Yes… maybe.", 3),
        ("- first\n- second\n\n3. third", 3),
        ("Llame al Sr. García. Gracias.", 2),
        ("He said “stop.” Then he left.", 2),
    ],
)
def test_sentences_are_counted(text: str, count: int) -> None:
    assert sentences(text) == count


def test_triage_is_an_exact_match() -> None:
    assert score_triage({"label": "cards"}, "cards").passed
    wrong = score_triage({"label": "cards"}, "loans")
    assert (wrong.passed, wrong.score, wrong.checks[0].detail) == (False, 0.0, "loans")


def test_every_reference_answer_of_the_demo_passes_its_own_case() -> None:
    cases = read_jsonl("answers", (REPOSITORY / "data" / "demo" / "answers_golden.jsonl").read_bytes())
    failed = [
        case.content["reference"]
        for case in cases
        if not score_answer(case.content, case.content["reference"], cited=case.content["evidence"]).passed
    ]
    assert failed == []
