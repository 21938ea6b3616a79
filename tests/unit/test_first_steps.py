"""Mistakes that people make in their first hour: each is told at once, and nothing is made."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_alchemy import Env, Resource, alchemy, output
from pytest_alchemy.errors import OutputNotReadyError, ResourceDefinitionError
from pytest_alchemy.scope import Scope
from tests.unit.support.scopes import Hand, lines


class Called(Resource, kind="calledfirst"):
    """Tells of every call."""

    calls: list[str] = []  # noqa: RUF012  # each object gets a copy
    where: Env | None = None
    servers: dict[str, list[Env]] = {}  # noqa: RUF012  # each object gets a copy
    host: str = output()

    def create(self) -> None:
        self.calls.append("create")

    def destroy(self) -> None:
        pass


class Forgetful(Resource):
    """Has a constructor of its own that does too little."""

    def __init__(self, id: str, size: int) -> None:
        self.size = size

    def create(self) -> None:
        raise AssertionError("it was made")

    def destroy(self) -> None:
        pass


def test_an_unset_variable_is_told_before_anything_is_tried(
    scope: Scope, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_SERVER", raising=False)
    direct = Called("a", where=alchemy.env("NO_SUCH_SERVER"))
    nested = Called("b", servers={"one": [alchemy.env("NO_SUCH_SERVER")]})

    for resource in (direct, nested):
        with pytest.raises(LookupError, match="The environment variable NO_SUCH_SERVER is not set"):
            hand.create(scope, resource)
        assert resource.calls == []
    outcome = hand.close(scope)

    assert (outcome.destroyed, outcome.failures, lines(scope)) == (0, [], [])


def test_a_constructor_that_does_too_little_is_told_what_it_lacks(scope: Scope, hand: Hand) -> None:
    with pytest.raises(ResourceDefinitionError) as caught:
        hand.create(scope, Forgetful("a", 3))

    assert str(caught.value) == (
        "Resource class Forgetful: its __init__ does not call that of Resource.\n"
        "Declare properties as annotated fields instead, or call super().__init__(id, ...)."
    )


def test_an_output_that_create_did_not_set_is_told_apart_from_one_that_is_not_there_yet(
    scope: Scope, hand: Hand
) -> None:
    resource = Called("a")
    with pytest.raises(OutputNotReadyError, match="Create it first"):
        _ = resource.host

    hand.create(scope, resource)
    with pytest.raises(OutputNotReadyError) as caught:
        _ = resource.host

    assert str(caught.value) == (
        "Called 'a' has no 'host': its create() ended without setting it.\nSet it there: self.host = ..."
    )


def test_the_result_of_a_call_is_no_function_to_defer(scope: Scope) -> None:
    nothing: Any = None
    with pytest.raises(TypeError) as caught:
        scope.defer(nothing)

    assert str(caught.value) == (
        "scope.defer() was given None, which cannot be called.\n"
        "Pass the function and its arguments: scope.defer(delete_folder, name), not delete_folder(name)."
    )


def delete_folder(name: str) -> None:
    """Never called."""


def test_a_call_that_cannot_work_is_refused_when_it_is_deferred(scope: Scope) -> None:
    anything: Any = delete_folder
    with pytest.raises(
        TypeError, match=r"delete_folder\(name: 'str'\) -> 'None' cannot be called like that"
    ):
        scope.defer(anything)

    assert lines(scope) == []
