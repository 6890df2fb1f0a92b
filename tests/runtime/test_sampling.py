"""Choosing tokens, and text that is sent on piece by piece."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.runtime.sampling import TextBuffer, choose_token


class Letters:
    """A tokenizer whose tokens are bytes."""

    def decode(self, tokens: list[int], *, skip_special_tokens: bool) -> str:
        return bytes(tokens).decode("utf-8", errors="replace")


@settings(max_examples=200)
@given(text=st.text(max_size=30), stop=st.lists(st.text(min_size=1, max_size=4), max_size=3))
def test_pieces_add_up_to_the_text_before_the_first_stop_text(text: str, stop: list[str]) -> None:
    buffer = TextBuffer(Letters(), stop)
    sent = ""
    for token in text.encode():
        sent += buffer.add(token)
        if buffer.stopped:
            break
    sent += buffer.finish()
    assert sent == buffer.text
    ends = [at for at in (text.find(one) for one in stop) if at >= 0]
    if ends:
        assert len(sent) <= min(ends)
        assert all(one not in sent for one in stop)
    else:
        assert sent == text


def test_half_a_character_is_held_back() -> None:
    buffer = TextBuffer(Letters(), [])
    pieces = [buffer.add(byte) for byte in "phí".encode()]
    assert pieces == ["p", "h", "", "í"]


def test_no_temperature_takes_the_most_likely_token() -> None:
    assert choose_token(torch.tensor([0.1, 3.0, 2.9]), 0.0, 1.0, torch.Generator()) == 1


@pytest.mark.parametrize(("top_p", "expected"), [(0.3, {0}), (0.8, {0, 1}), (1.0, {0, 1, 2})])
def test_nucleus_sampling_leaves_unlikely_tokens_out(top_p: float, expected: set[int]) -> None:
    logits = torch.log(torch.tensor([0.6, 0.3, 0.1]))
    random = torch.Generator().manual_seed(3)
    assert {choose_token(logits.clone(), 1.0, top_p, random) for _ in range(200)} == expected
