"""Promises of names that people give: which ones are accepted, and what is made from them."""

from __future__ import annotations

import string
from itertools import combinations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_alchemy import names
from pytest_alchemy.errors import InvalidNameError, ResourceDefinitionError
from tests.unit.support.texts import NODE_ID, any_text

REMEDY = "\nUse 1 to 100 letters, digits, '-', '_' or '.', starting with a letter or a digit."


@pytest.mark.parametrize(
    "name", ["backend", "my-app", "a", "0", "A_b.c-1", "x" * 100, "größe", "名"]
)
def test_a_good_name_is_returned(name: str) -> None:
    assert names.check_name("a scope", name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (None, "it is missing"),
        (7, "it is of type int, not text"),
        (b"a", "it is of type bytes, not text"),
        ("", "it is empty"),
        (".", "it starts with '.'"),
        ("..", "it starts with '.'"),
        (".hidden", "it starts with '.'"),
        ("-x", "it starts with '-'"),
        ("_x", "it starts with '_'"),
        ("a/b", "it contains '/'"),
        ("a\\b", "it contains '\\\\'"),
        ("a b", "it contains ' '"),
        ("a\n", "it contains '\\n'"),
        ("a\0", "it contains '\\x00'"),
        ("a:b", "it contains ':'"),
        ("a\ud800", "it contains '\\ud800'"),
        ("x" * 101, "it has 101 characters"),
    ],
)
def test_a_bad_name_is_refused_with_its_reason(name: object, reason: str) -> None:
    with pytest.raises(InvalidNameError) as caught:
        names.check_name("a stage", name)

    assert str(caught.value) == f"{name!r} is not a name for a stage: {reason}.{REMEDY}"


@pytest.mark.parametrize("kind", ["", "D1", "my-kind", "my_kind", "é", None, 1, "²"])
def test_a_bad_kind_is_refused(kind: object) -> None:
    with pytest.raises(ResourceDefinitionError) as caught:
        names.check_kind(kind, "Bucket")

    assert str(caught.value) == (
        f"Resource class Bucket: {kind!r} is not a kind.\n"
        'Use lower-case letters and digits: class ...(Resource, kind="bucket2")'
    )


@given(st.from_regex(r"\A[a-z0-9]+\Z"), any_text)
def test_a_key_splits_into_kind_and_id(kind: str, id: str) -> None:
    key = names.resource_key(names.check_kind(kind), id)

    assert key.partition("-")[::2] == (kind, id)


@pytest.mark.parametrize("name", ["backend", "my-app", "test-gw0-k3f9x2ab", "a_b", "x" * 100])
def test_a_plain_name_is_its_own_folder(name: str) -> None:
    assert names.folder_name(name) == name


@given(any_text | st.sampled_from(["con", "CON", "nul", "com1", "a.", "a ", "state.json"]))
def test_a_folder_is_legal_everywhere(name: str) -> None:
    folder = names.folder_name(name)

    assert 0 < len(folder) <= 100
    assert set(folder) <= set(string.ascii_lowercase + string.digits + "-_+")
    assert folder[0].isalnum()
    assert folder.partition("+")[0] != folder or folder not in {"con", "prn", "aux", "nul", "com1"}


@given(any_text, any_text)
def test_two_scopes_never_share_a_folder(one: str, other: str) -> None:
    assume(one != other)

    assert names.folder_name(one).casefold() != names.folder_name(other).casefold()


def test_scopes_that_differ_in_case_or_signs_have_folders_of_their_own() -> None:
    alike = [
        "a-b",
        "A-B",
        "a_b",
        "a.b",
        "a b",
        "a-b ",
        "a-b.",
        "-a-b",
        "a/b",
        "a\\b",
        "\uff41-b",
        "é",
        "e\u0301",
    ]
    alike += [names.folder_name(name) for name in alike]

    folders = {name: names.folder_name(name) for name in alike}

    for one, other in combinations(folders, 2):
        assert folders[one] != folders[other]


def test_a_node_id_has_a_readable_folder() -> None:
    folder = names.folder_name(NODE_ID)

    assert folder.startswith("tests-test-users-py-test-login-param-1+")
