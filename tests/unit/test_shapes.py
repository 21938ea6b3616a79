"""Does a value fit its annotation, and what comes back from its record?"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, List, Literal, NamedTuple, NewType, Optional, TypedDict, Union  # noqa: UP035

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_alchemy.annotations import shape_of
from pytest_alchemy.shapes import Mismatch
from pytest_alchemy.values import Env, plain, referred


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass
class Part:
    name: str
    count: int = 1
    where: Path | None = None


@dataclasses.dataclass(frozen=True)
class Node:
    value: int
    inside: Node | None = None
    parts: tuple[Part, ...] = ()
    password: Env | None = None
    total: int = dataclasses.field(init=False, default=0)


class Options(TypedDict, total=False):
    ttl: int
    extra: dict[str, str]


class Strict(TypedDict):
    host: str
    port: int


class Point(NamedTuple):
    x: int
    y: int


class Size(msgspec.Struct):
    width: int


class Ref:
    """Stands for a resource."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __alchemy_ref__(self) -> dict[str, Any]:
        return {"name": self.name}


class Lock:
    """Nothing that a record could hold."""


class Text(str):
    """Text with a meaning of its author's."""

    __slots__ = ()


UserId = NewType("UserId", int)
REF = Ref("db")


def find(reference: dict[str, Any]) -> Ref:
    if reference != {"name": "db"}:
        raise LookupError(reference["name"])
    return REF


def numbered(cases: Sequence[tuple[Any, ...]]) -> list[str]:
    """Return ids that are the same in every worker."""
    return [f"{number}-{annotation}" for number, (annotation, *_) in enumerate(cases)]


def through_json(annotation: Any, value: Any) -> Any:
    """Return what another process finds in the record of *value*."""
    shape = shape_of(annotation)
    data = msgspec.json.decode(msgspec.json.encode(plain(shape.accept(value, ""))))
    return shape.revive(data, "", find)


MOMENT = datetime.datetime(2024, 5, 17, 12, 30, tzinfo=datetime.UTC)

VALUES: list[tuple[Any, Any]] = [
    (str, "text"),
    (str, ""),
    (int, -3),
    (int, 2**70),
    (float, 1.5),
    (bool, True),
    (None, None),
    (Path, Path("a/b")),
    (PurePosixPath, PurePosixPath("/x")),
    (Env, Env("HOME")),
    (Ref, REF),
    (bytes, b"\x00\xff"),
    (datetime.datetime, MOMENT),
    (datetime.date, MOMENT.date()),
    (datetime.time, MOMENT.time()),
    (datetime.timedelta, datetime.timedelta(days=1, microseconds=5)),
    (decimal.Decimal, decimal.Decimal("1.10")),
    (uuid.UUID, uuid.UUID(int=7)),
    (Color, Color.RED),
    (Level, Level.LOW),
    (Literal["a", "b"], "b"),
    (Literal[1, None], None),  # noqa: PYI061  # the old spelling is what is tested
    (Literal[Color.RED], Color.RED),
    (int | None, None),
    (Optional[str], "x"),  # noqa: UP045  # the old spelling is what is tested
    (Union[int, str], "1"),  # noqa: UP007  # the same
    (Env | str, Env("X")),
    (str | Env, "X"),
    (dict[str, str] | Env, Env("X")),
    (dict[str, str] | Env, {"$env": "X"}),
    (dict[str, Any] | Ref, REF),
    (Ref | None, None),
    (bool | int, 1),
    (int | float, 1),
    (list[int], [1, 2]),
    (list[Ref], [REF]),
    (list, [1, "a", None]),
    (List, [1, "a"]),  # noqa: UP006  # the old spelling is what is tested
    (tuple, (1, "a")),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2, 3)),
    (tuple[()], ()),
    (set[str], {"b", "a"}),
    (frozenset[int], frozenset({3, 1})),
    (Sequence[int], [1]),
    (Mapping[str, int], {"a": 1}),
    (dict, {"a": [1, {"b": None}]}),
    (dict[str, Ref], {"DB": REF}),
    (dict[str, list[Path]], {"a": [Path("x")]}),
    (Any, {"a": REF, "b": [Env("X")]}),
    (object, [None]),
    (Part, Part("wheel", 4, Path("x"))),
    (Node, Node(1, Node(2), (Part("a"),), Env("PW"))),
    (list[Part], [Part("a"), Part("b")]),
    (Part | Node, Node(1)),
    (Options, {}),
    (Options, {"extra": {"$x": "y"}}),
    (Strict, {"host": "h", "port": 1}),
    (Point, Point(1, 2)),
    (Size, Size(3)),
    (UserId, UserId(3)),
    (Annotated[Env, "of the server"], Env("X")),
    (Annotated[int, msgspec.Meta(ge=0)], 3),
]


@pytest.mark.parametrize(("annotation", "value"), VALUES, ids=numbered(VALUES))
def test_another_process_reads_back_what_was_recorded(annotation: Any, value: Any) -> None:
    found = through_json(annotation, value)

    assert found == value
    assert type(found) is type(value)


def test_a_field_that_a_constructor_does_not_take_is_read_back() -> None:
    node = Node(1)
    object.__setattr__(node, "total", 5)

    assert through_json(Node, node).total == 5


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
keys = st.text() | st.sampled_from(["$env", "$ref", "$dict", "$"])


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        scalars | st.builds(Env, st.from_regex(r"[A-Z]+", fullmatch=True)) | st.just(REF),
        lambda inner: st.lists(inner) | st.dictionaries(keys, inner),
        max_leaves=20,
    )
)
def test_plain_data_of_any_shape_is_read_back(value: Any) -> None:
    assert through_json(Any, value) == value


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(keys, st.dictionaries(keys, st.text(), max_size=2), max_size=3))
def test_an_authors_dict_is_never_taken_for_one_of_ours(value: dict[str, dict[str, str]]) -> None:
    assert through_json(dict[str, dict[str, str]], value) == value
    assert through_json(dict[str, dict[str, str] | Env | Ref], value) == value


MISFITS: list[tuple[Any, Any, str, str]] = [
    (str, 3, "", "has to be str, not int (3)"),
    (int, "3", "", "has to be int, not str ('3')"),
    (int, True, "", "has to be int, not bool (True)"),
    (int, 1.0, "", "has to be int, not float (1.0)"),
    (float, "1", "", "has to be float, not str ('1')"),
    (float, True, "", "has to be float, not bool (True)"),
    (bool, 1, "", "has to be bool, not int (1)"),
    (None, 0, "", "has to be None, not int (0)"),
    (Path, "a", "", "has to be Path, not str ('a')"),
    (Env, "HOME", "", "has to be Env, not str ('HOME')"),
    (Ref, "db", "", "has to be Ref, not str ('db')"),
    (int, "x" * 50, "", f"has to be int, not str ('{'x' * 36}...)"),
    (int | None, "x", "", "has to be int | None, not str ('x')"),
    (list[int] | None, ["x"], "[0]", "has to be int, not str ('x')"),
    (list[int], "ab", "", "has to be list[int], not str ('ab')"),
    (list[int], [1, "b"], "[1]", "has to be int, not str ('b')"),
    (tuple[int, str], (1,), "", "has to be tuple[int, str], not tuple ((1,))"),
    (tuple[int, str], (1, 2), "[1]", "has to be str, not int (2)"),
    (set[str], ["a"], "", "has to be set[str], not list (['a'])"),
    (dict[str, int], [1], "", "has to be dict[str, int], not list ([1])"),
    (dict[str, int], {1: 1}, "", "has to be dict[str, int], not dict ({1: 1})"),
    (dict[str, list[int]], {"a": [1, "x"]}, "['a'][1]", "has to be int, not str ('x')"),
    (Color, "red", "", "has to be Color, not str ('red')"),
    (Literal["a", "b"], "c", "", "has to be 'a' or 'b', not str ('c')"),
    (Literal[1], True, "", "has to be 1, not bool (True)"),
    (Literal["eu", "us"] | None, "x", "", "has to be 'eu' | 'us' | None, not str ('x')"),
    (datetime.datetime, "2024-05-17", "", "has to be datetime, not str"),
    (Part, {"name": "x"}, "", "has to be Part, not dict ({'name': 'x'})"),
    (Part, Part(3), ".name", "has to be str, not int (3)"),  # type: ignore[arg-type]  # wrong on purpose
    (Node, Node(1, Node("x")), ".inside.value", "has to be int, not str ('x')"),  # type: ignore[arg-type]
    (Strict, {"host": "h"}, "", "misses the field 'port' of Strict"),
    (Strict, {"host": "h", "port": 1, "por": 2}, "", "has no field 'por' as Strict"),
    (Strict, {"host": "h", "port": "1"}, "['port']", "has to be int, not str ('1')"),
    (Annotated[int, msgspec.Meta(ge=0)], -1, "", "has to be int >= 0"),
]


@pytest.mark.parametrize(
    ("annotation", "value", "place", "reason"),
    MISFITS,
    ids=numbered(MISFITS),
)
def test_a_value_that_does_not_fit_is_refused_and_the_place_named(
    annotation: Any, value: Any, place: str, reason: str
) -> None:
    with pytest.raises(Mismatch) as caught:
        shape_of(annotation).accept(value, "")

    assert (caught.value.path, caught.value.reason) == (place, reason)


def test_a_wrong_leaf_deep_inside_is_found_at_once() -> None:
    deep: Any = "x"
    annotation: Any = int
    for _ in range(40):  # twice as long for each of them would never end
        deep, annotation = [deep], list[annotation]

    with pytest.raises(Mismatch) as caught:
        shape_of(annotation).accept(deep, "")

    assert caught.value.path == "[0]" * 40


UNREADABLE: list[tuple[Any, Any, str, str]] = [
    (str, 3, "", "has to be str, not int (3)"),
    (Path, 3, "", "has to be Path, not int (3)"),
    (list[int], {"a": 1}, "", "has to be list[int], not dict ({'a': 1})"),
    (list[int], [1, None], "[1]", "has to be int, not NoneType (None)"),
    (tuple[int, str], [1], "", "has to be tuple[int, str], not list ([1])"),
    (dict[str, int], [], "", "has to be dict[str, int], not list ([])"),
    (dict[str, int], {"$env": "X"}, "", "has to be dict[str, int], not dict ({'$env': 'X'})"),
    (Color, "green", "", "has to be a value of Color, not str ('green')"),
    (Literal["a"], "b", "", "has to be 'a', not str ('b')"),
    (Part, {"name": "x", "colour": 1}, "", "has no field 'colour' as Part"),
    (Part, {"count": 1}, "", "misses the field 'name' of Part"),
    (Part, {"name": 1}, ".name", "has to be str, not int (1)"),
    (Node, {"value": 1, "inside": {"value": "x"}}, ".inside.value", "has to be int, not str ('x')"),
    (datetime.date, "yesterday", "", "does not fit: invalid RFC3339 encoded date"),
    (Size, {}, "", "does not fit: object missing required field width"),
    (Env, "X", "", "has to be Env, not str ('X')"),
]


@pytest.mark.parametrize(
    ("annotation", "data", "place", "reason"),
    UNREADABLE,
    ids=numbered(UNREADABLE),
)
def test_a_record_that_does_not_fit_is_refused_and_the_place_named(
    annotation: Any, data: Any, place: str, reason: str
) -> None:
    with pytest.raises(Mismatch) as caught:
        shape_of(annotation).revive(data, "", find)

    assert (caught.value.path, caught.value.reason) == (place, reason)


def test_a_reference_to_what_is_gone_is_no_mismatch() -> None:
    with pytest.raises(LookupError):
        shape_of(dict[str, Ref]).revive({"DB": {"$ref": {"name": "gone"}}}, "", find)


def test_an_int_will_do_for_a_float() -> None:
    found = shape_of(float).accept(3, "")

    assert (found, type(found)) == (3.0, float)


def test_text_and_numbers_of_a_class_of_the_authors_are_recorded_as_such() -> None:
    assert plain(Text("x")) == "x"
    assert type(plain(Text("x"))) is str
    assert plain(Level.LOW) == 1


def test_sets_are_recorded_in_one_order() -> None:
    assert plain({"b", "a", "c"}) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object, "Encoding objects of type type is unsupported"),
        ({1: 2}, "the key 1 of a dict is not text"),
        ([float("nan")], "nan is no number that a record can hold"),
        (float("inf"), "inf is no number that a record can hold"),
        (Part("x", where=object()), "Encoding objects of type object is unsupported"),  # type: ignore[arg-type]
    ],
)
def test_what_no_record_can_hold_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(TypeError) as caught:
        plain(value)

    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (Callable[[], None], ""),
        (type, ""),
        (dict[int, str], "dict[int, str]: keys of a recorded dict have to be str"),
        (Lock, "a value of type Lock cannot be recorded"),
        (list[Lock], "a value of type Lock cannot be recorded"),
    ],
)
def test_an_annotation_of_which_no_value_can_be_recorded_is_refused(
    annotation: Any, reason: str
) -> None:
    with pytest.raises(TypeError) as caught:
        shape_of(annotation)

    assert not reason or str(caught.value) == reason


@pytest.mark.parametrize(
    "value",
    [
        REF,
        [REF],
        (REF,),
        {"a": {"b": [REF]}},
        {REF},
        [Part("x", where=REF)],  # type: ignore[arg-type]  # anything will do
    ],
)
def test_resources_are_found_anywhere_inside_a_value(value: Any) -> None:
    found: list[Any] = []

    referred(value, found)

    assert found == [REF]


@pytest.mark.parametrize("value", ["db", 3, 1.5, None, True, Env("X"), Path("x"), b"x", Color.RED])
def test_there_is_no_resource_in_other_values(value: Any) -> None:
    found: list[Any] = []

    referred(value, found)

    assert found == []


# Environment variables


def test_an_environment_variable_is_looked_up_when_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variable = Env("ALCHEMY_TEST_VALUE")
    monkeypatch.setenv("ALCHEMY_TEST_VALUE", "first")
    assert variable.value == "first"

    monkeypatch.setenv("ALCHEMY_TEST_VALUE", "second")

    assert variable.value == "second"
    assert repr(variable) == "env('ALCHEMY_TEST_VALUE')"


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALCHEMY_TEST_VALUE", raising=False)

    with pytest.raises(LookupError) as caught:
        _ = Env("ALCHEMY_TEST_VALUE").value

    assert str(caught.value) == (
        "The environment variable ALCHEMY_TEST_VALUE is not set, but a resource needs it.\n"
        "Set it where the tests run and wherever what they leave is cleaned up."
    )


@pytest.mark.parametrize("name", ["", "A=B", "A\0", 3, None])
def test_what_cannot_be_a_variable_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match=r"is not the name of an environment variable$"):
        Env(name)


def test_variables_are_equal_by_name() -> None:
    assert {Env("A"), Env("A"), Env("B")} == {Env("A"), Env("B")}
    assert Env("A") != "A"
