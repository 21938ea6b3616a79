"""Promises of physical names: bounded, legal, unique, and read back as what they were made from."""

from __future__ import annotations

import random
import string
import uuid
from typing import TypedDict

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_alchemy import clock, physicalnames
from pytest_alchemy.physicalnames import Identity, NameRule, Run
from tests.unit.support.texts import NODE_ID, any_text

RUN = Run("k3f9x2ab", 1_767_225_600.0)  # 2026-01-01T00:00:00Z
ALPHABETS = ("a-z0-9-", "a-z0-9_", "a-z0-9.", "a-z0-9", "a-zA-Z0-9_.-", "a-z0-9_.")
PINNED = [
    "alt-my-app-backend-orders-k3f9x2ab-gpv206rcf12wbyi3ii3zbf",
    "atgpk3f9x2ab06rcf12wbyj1",
    "alc-my-app-test-backend-orders-gpv2f12wbyi3ii264n",
    "acgpv2f12wbyi3iig3zwmmrp",
]


class Arguments(TypedDict):
    """What a physical name is made from, but for its rule."""

    app: str
    stage: str
    path: tuple[str, ...]
    kind: str
    id: str
    run: Run | None


def arguments(
    path: tuple[str, ...] = (),
    id: str = "orders",
    *,
    stage: str = "test",
    kind: str = "d1",
    run: Run | None = RUN,
) -> Arguments:
    return {"app": "my-app", "stage": stage, "path": path, "kind": kind, "id": id, "run": run}


rules = st.builds(NameRule, max=st.integers(24, 128), alphabet=st.sampled_from(ALPHABETS))
runs = st.builds(
    Run,
    id=st.text(alphabet=string.ascii_lowercase + string.digits, min_size=8, max_size=8),
    expires=st.floats(1.7e9, 7.7e9),
)
any_arguments: st.SearchStrategy[Arguments] = st.fixed_dictionaries(
    {
        "app": any_text,
        "stage": any_text,
        "path": st.lists(any_text, max_size=4).map(tuple),
        "kind": st.sampled_from(["d1", "kv", "r2"]),
        "id": any_text,
        "run": st.none() | runs,
    }
)  # type: ignore[assignment]


@given(any_arguments, rules)
def test_a_name_is_read_back_as_the_identity_it_was_made_from(
    given_: Arguments, rule: NameRule
) -> None:
    name = physicalnames.physical_name(**given_, rule=rule)

    identity = physicalnames.identity(**given_, rule=rule)
    assert physicalnames.parse(name) == identity
    assert physicalnames.is_app(identity, given_["app"])
    assert identity.run == (given_["run"].id if given_["run"] else None)


@given(any_arguments, rules)
def test_a_name_obeys_its_rule(given_: Arguments, rule: NameRule) -> None:
    name = physicalnames.physical_name(**given_, rule=rule)

    assert len(name) <= rule.max
    assert set(name) <= rule.characters
    assert name[0] in string.ascii_lowercase
    assert name[-1] in string.ascii_lowercase + string.digits
    assert name == name.lower()
    assert not rule.separator or rule.separator * 2 not in name


@given(any_arguments, any_arguments, rules)
def test_different_arguments_give_different_names(
    one: Arguments, other: Arguments, rule: NameRule
) -> None:
    assume(one != other)

    assert physicalnames.physical_name(**one, rule=rule) != physicalnames.physical_name(
        **other, rule=rule
    )


@given(runs)
def test_an_expiry_is_rounded_up_to_the_hour(run: Run) -> None:
    read = physicalnames.identity(**arguments(run=run)).expires

    assert read is not None
    assert 0 <= read - max(run.expires, 1_735_689_600) < 3600
    assert read % 3600 == 0


@pytest.mark.parametrize("rule", [NameRule(), NameRule(24, "a-z0-9"), NameRule(128, "a-z0-9_")])
@pytest.mark.parametrize("run", [RUN, None])
def test_neighbours_that_read_alike_have_names_of_their_own(
    rule: NameRule, run: Run | None
) -> None:
    neighbours = [
        arguments(id="a-b", run=run),
        arguments(id="a_b", run=run),
        arguments(id="a.b", run=run),
        arguments(id="A-B", run=run),
        arguments(id="x.y", run=run),
        arguments(id="x-y", run=run),
        arguments(("b",), "c-d", run=run),
        arguments(("b-c",), "d", run=run),
        arguments(("b", "c"), "d", run=run),
        arguments((), "b-c-d", run=run),
        arguments(("b", ""), "c-d", run=run),
        arguments(stage="test-b", id="c-d", run=run),
        arguments(id="a-b", kind="kv", run=run),
        arguments(("",), "", run=run),
        arguments((), "", run=run),
    ]

    made = [physicalnames.physical_name(**each, rule=rule) for each in neighbours]

    assert len(set(made)) == len(neighbours)


@pytest.mark.parametrize(
    ("rule", "run", "name"),
    [
        (NameRule(), RUN, "alt-my-app-test-login-orders-k3f9x2ab-"),
        (NameRule(128), RUN, "alt-my-app-test-login-param-1-orders-k3f9x2ab-"),
        (NameRule(44), RUN, "alt-orders-k3f9x2ab-"),
        (NameRule(128, "a-z0-9_"), RUN, "alt_my_app_test_login_param_1_orders_k3f9x2ab_"),
        (NameRule(128, "a-z0-9"), RUN, "altmyapptestloginparam1ordersk3f9x2ab"),
        (NameRule(30), RUN, "at"),
        (NameRule(128), None, "alc-my-app-test-test-login-param-1-orders-"),
        (NameRule(30), None, "ac"),
    ],
)
def test_a_name_is_readable(rule: NameRule, run: Run | None, name: str) -> None:
    assert physicalnames.physical_name(**arguments((NODE_ID,), run=run), rule=rule).startswith(name)


def test_a_long_id_loses_its_beginning_but_not_its_end() -> None:
    given_ = arguments(id="a-very-long-description-of-the-orders-of-today")

    name = physicalnames.physical_name(**given_)

    assert name.startswith("alt-my-app-the-orders-of-today-k3f9x2ab-")


def test_a_name_stays_the_same_in_every_version() -> None:
    """Names outlive the process: a sweep has to read those of the release before."""
    given_ = arguments(("backend", "é\ud800"), run=RUN)

    made = [
        physicalnames.physical_name(**given_ | {"run": run}, rule=rule)
        for run in (RUN, None)
        for rule in (NameRule(), NameRule(24))
    ]

    assert made == PINNED


def foreign_names(dice: random.Random) -> list[str]:
    letters = string.ascii_lowercase + string.digits
    made = [
        "",
        "a",
        "alt",
        "alc-",
        "alt-something",
        "at" + "x" * 22,
        "ac" + "0" * 22,
        "alt😀",
        "alt-",
    ]
    for _ in range(250):
        text = "".join(dice.choices(letters, k=60))
        made += [
            str(uuid.UUID(int=dice.getrandbits(128))),
            f"alt-{text[:9]}-{text[10:18]}-{text[20:42]}",
            f"alc-{text[: dice.randrange(50)]}",
            f"alt_{text}",
        ]
    return made


def mutated(name: str, dice: random.Random) -> str:
    at = dice.randrange(len(name))
    other = dice.choice(
        [c for c in string.ascii_lowercase + string.digits + "-A_" if c != name[at]]
    )
    cut = [name[:at] + name[at + 1 :], name[:at] + other + name[at:], name[:at], name + other]
    return dice.choice([name[:at] + other + name[at + 1 :], *cut, name.upper()])


def test_foreign_names_are_not_ours() -> None:
    taken = [name for name in foreign_names(random.Random(1)) if physicalnames.parse(name)]

    assert taken == []


@pytest.mark.parametrize("rule", [NameRule(), NameRule(44, "a-z0-9_"), NameRule(60, "a-z0-9")])
@pytest.mark.parametrize("run", [RUN, None])
def test_changed_copies_of_our_names_are_not_ours(rule: NameRule, run: Run | None) -> None:
    dice = random.Random(2)
    ours = physicalnames.physical_name(**arguments(("backend",), run=run), rule=rule)

    taken = [
        copy for copy in (mutated(ours, dice) for _ in range(500)) if physicalnames.parse(copy)
    ]

    assert physicalnames.parse(ours)
    assert taken == []


def test_changed_copies_of_short_test_names_are_ours_by_chance_alone() -> None:
    dice = random.Random(3)
    ours = physicalnames.physical_name(**arguments(), rule=NameRule(24))

    taken = [
        copy for copy in (mutated(ours, dice) for _ in range(1000)) if physicalnames.parse(copy)
    ]

    assert len(taken) <= 5  # the check is right in one of 1,296


@given(st.text(alphabet=st.characters(), max_size=80) | st.from_regex(r"\Aa[lct][\w-]{0,60}\Z"))
def test_any_text_can_be_parsed(text: str) -> None:
    parsed = physicalnames.parse(text)

    assert parsed is None or isinstance(parsed, Identity)


def test_a_name_of_another_application_is_not_of_this_one() -> None:
    for rule in (NameRule(), NameRule(24)):
        identity = physicalnames.parse(physicalnames.physical_name(**arguments(), rule=rule))

        assert identity is not None
        assert physicalnames.is_app(identity, "my-app")
        assert not physicalnames.is_app(identity, "other-app")


def test_a_new_run_ends_after_its_lifetime() -> None:
    before = clock.now()

    run = physicalnames.new_run(3600)

    assert before + 3600 <= run.expires <= clock.now() + 3600
    assert physicalnames.new_run(3600).id != run.id


@pytest.mark.parametrize("id", ["", "short", "K3F9X2AB", "k3f9x2abc", "k3f9-2ab", "k3f9x2a²"])
def test_a_run_refuses_an_id_that_a_name_cannot_hold(id: str) -> None:
    with pytest.raises(ValueError, match=r"^(Run|NameRule): ") as caught:
        Run(id, 0.0)

    expected = f"Run: {id!r} is not 8 digits and lower-case letters. Use new_run()."
    assert str(caught.value) == expected


@pytest.mark.parametrize("expires", [8e9, -1.0, float("inf"), float("-inf"), float("nan")])
def test_a_run_refuses_a_moment_that_a_name_cannot_hold(expires: float) -> None:
    with pytest.raises(ValueError, match=r"^(Run|NameRule): ") as caught:
        Run("k3f9x2ab", expires)

    expected = f"Run: expires={expires!r} is not a moment between the years 1970 and 2216."
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("alphabet", "separator"),
    [("a-z0-9-", "-"), ("a-z0-9_.", "_"), ("-a-z0-9", "-"), ("0-9a-z.", "."), ("a-z0-9", "")],
)
def test_a_rule_knows_its_separator(alphabet: str, separator: str) -> None:
    assert NameRule(63, alphabet).separator == separator


@pytest.mark.parametrize(
    ("longest", "alphabet", "reason", "remedy"),
    [
        (
            23,
            "a-z0-9",
            "NameRule: max=23 leaves no room for a unique name.",
            "Use 24 or more, and a property for the name of a kind that takes less.",
        ),
        (True, "a-z0-9", "NameRule: max is True, which is no number of characters.", ""),
        (
            63,
            "b-z1-9",
            "NameRule: alphabet 'b-z1-9' lacks '0a'.",
            "Every name needs a-z and 0-9: alphabet='a-z0-9-'",
        ),
        (
            63,
            "z-a0-9",
            "NameRule: the range z-a of alphabet 'z-a0-9' runs backwards.",
            "Write it a-z, or put a literal '-' last.",
        ),
    ],
)
def test_a_rule_that_no_name_can_obey_is_refused(
    longest: int, alphabet: str, reason: str, remedy: str
) -> None:
    with pytest.raises(ValueError, match=r"^(Run|NameRule): ") as caught:
        NameRule(longest, alphabet)

    assert str(caught.value) == f"{reason}\n{remedy}".rstrip()
