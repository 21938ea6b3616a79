"""Text that may name something, of every kind."""

from __future__ import annotations

from hypothesis import strategies as st

NODE_ID = "tests/test_users.py::test_login[param-1]"

any_text = st.one_of(
    st.text(alphabet=st.characters(), max_size=20),  # surrogates, emoji and controls too
    st.text(alphabet="ab-_.:/[] ", max_size=400),
    st.sampled_from(["", "A", "😀" * 300, "\ud800", NODE_ID, "x" * 301, "::[", "-", "a\0b"]),
)
