"""The word diff of the pages."""

from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.ui.diff import Segment, word_diff

TEXTS = st.text(alphabet="ab \n.ñ", max_size=40)


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_the_segments_spell_both_texts(before: str, after: str) -> None:
    segments = word_diff(before, after)
    assert "".join(part.text for part in segments if part.kind != "added") == before
    assert "".join(part.text for part in segments if part.kind != "removed") == after


def test_only_the_words_that_changed_are_marked() -> None:
    assert word_diff("The fee is 3 euro.", "The fee is 4 euro.") == [
        Segment("same", "The fee is "),
        Segment("removed", "3"),
        Segment("added", "4"),
        Segment("same", " euro."),
    ]
