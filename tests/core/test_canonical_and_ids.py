import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.canonical import canonical_bytes, content_hash, hash_folder
from workbench.core.clock import from_iso
from workbench.core.ids import is_id, new_id

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), json_values, max_size=6))
def test_the_order_of_keys_does_not_change_a_hash(value: dict[str, object]) -> None:
    turned = dict(reversed(list(value.items())))
    assert content_hash(turned) == content_hash(value)


@given(json_values, json_values)
def test_two_values_have_one_hash_only_when_their_bytes_are_equal(left: object, right: object) -> None:
    assert (content_hash(left) == content_hash(right)) == (canonical_bytes(left) == canonical_bytes(right))


def test_ids_sort_by_the_time_they_were_made() -> None:
    ids = []
    for _ in range(5):
        ids.append(new_id())
        time.sleep(0.002)
    assert ids == sorted(ids)
    assert all(is_id(i) for i in ids)


def test_a_time_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="names no UTC offset"):
        from_iso("2026-01-02T03:04:05")
    assert from_iso("2026-01-02T03:04:05+02:00") == datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)


def test_a_folder_with_a_link_has_no_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(ValueError, match="is a link"):
        hash_folder(tmp_path)
