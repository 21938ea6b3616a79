"""Declaring resources."""

from __future__ import annotations

import gc
import sys
import types
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest

from pytest_alchemy import Env, NameRule, Resource, output
from pytest_alchemy.errors import (
    HookCalledError,
    InvalidPropertyError,
    OutputNotReadyError,
    PlainSecretWarning,
    ResourceDefinitionError,
    ResourceNeverCreatedWarning,
)
from pytest_alchemy.kinds import kind_of


class Hooks(Resource):
    """What a resource class needs at least."""

    def create(self) -> None: ...

    def destroy(self) -> None: ...


@dataclass
class Limits:
    cpu: int = 1
    tags: list[str] = field(default_factory=list)


class Server(Hooks):
    """A resource class with properties of many types."""

    region: str
    size: int = 3
    folder: Path | None = None
    tags: dict[str, list[str]] = {}  # noqa: RUF012  # every object gets a copy
    limits: Limits = Limits()  # the same
    password: Env | None = None
    peer: Server | None = None
    later: LaterDefined | None = None
    ports: list[int] = output()
    host: str = output()
    known: ClassVar[int] = 0

    @classmethod
    def list(cls) -> list[str]:
        return []


class LaterDefined(Hooks):
    """Named in an annotation before it exists."""


class BigServer(Server):
    """Inherits everything, and adds some."""

    cores: int
    size: int = 8


class KnownHost(Server):
    """Takes as a property what was an output."""

    host: str = "localhost"


class Watched(Resource):
    """Notes which hooks were called."""

    called: ClassVar[list[str]] = []

    def create(self) -> None:
        self.called.append("create")

    def read(self) -> bool:
        self.called.append("read")
        return True

    def update(self, previous: Any) -> None:
        self.called.append("update")

    def destroy(self) -> None:
        self.called.append("destroy")


def settled(resource: Any) -> Any:
    """Return *resource*, which need not be created."""
    resource._alchemy.fresh = False
    return resource


# Properties


def test_the_id_is_positional_and_properties_are_keywords() -> None:
    server = settled(Server("web", region="weur", tags={"a": ["b"]}))

    assert (server.id, server.region, server.size, server.folder) == ("web", "weur", 3, None)
    assert server.tags == {"a": ["b"]}
    assert repr(server) == "Server 'web'"


def test_every_object_gets_its_own_copy_of_a_default() -> None:
    first, second = (settled(Server(id, region="weur")) for id in ("a", "b"))

    first.tags["x"] = []
    first.limits.tags.append("y")

    assert second.tags == {}
    assert second.limits == Limits()
    assert Server.tags == {}


def test_changing_what_was_passed_changes_no_resource() -> None:
    tags = {"a": ["b"]}
    server = settled(Server("web", region="weur", tags=tags))

    tags["a"].append("c")
    tags["d"] = []

    assert server.tags == {"a": ["b"]}


def test_a_subclass_has_the_properties_of_its_bases_and_its_own() -> None:
    server = settled(BigServer("web", region="weur", cores=2))

    assert (server.region, server.cores, server.size) == ("weur", 2, 8)
    assert list(kind_of(BigServer).outputs) == ["ports", "host"]


def test_a_subclass_may_make_a_property_of_an_output() -> None:
    server = settled(KnownHost("web", region="weur", host="db.example"))

    assert server.host == "db.example"
    assert list(kind_of(KnownHost).outputs) == ["ports"]


def test_an_annotation_may_name_a_class_that_is_defined_later() -> None:
    later = settled(LaterDefined("l"))
    inner = settled(Server("inner", region="weur"))

    server = settled(Server("web", region="weur", later=later, peer=inner))

    assert server.later is later
    assert server.peer is inner


def test_a_method_called_list_does_not_hide_the_builtin() -> None:
    assert kind_of(Server).fields()["tags"].annotation == dict[str, list[str]]


WRONG: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    (("web",), {}, "Server 'web': property 'region' is missing."),
    (("web",), {"region": 3}, "Server 'web': property 'region' has to be str, not int (3)."),
    (
        ("web",),
        {"region": "weur", "tags": {"a": ["b", 3]}},
        "Server 'web': property \"tags['a'][1]\" has to be str, not int (3).",
    ),
    (
        ("web",),
        {"region": "weur", "limits": Limits("many")},  # type: ignore[arg-type]  # wrong on purpose
        "Server 'web': property 'limits.cpu' has to be int, not str ('many').",
    ),
    (
        ("web",),
        {"region": "weur", "peer": "other"},
        "Server 'web': property 'peer' has to be Server | None, not str ('other').",
    ),
    (
        ("web",),
        {"regoin": "weur"},
        "Server 'web': property 'regoin' is unknown.\nDid you mean 'region'?",
    ),
    (
        ("web",),
        {"region": "weur", "x": 1},
        "Server 'web': property 'x' is unknown.\n"
        "Its properties: region, size, folder, tags, limits, password, peer, later.",
    ),
    (
        ("web",),
        {"region": "weur", "host": "h"},
        "Server 'web': property 'host' is an output: the resource sets it itself.",
    ),
    ((), {"region": "weur"}, "Server: property 'id' is missing.\nName it: Server(\"my-server\")"),
    ((3,), {"region": "weur"}, "Server: property 'id' has to be str, not int (3)."),
    (
        ("web", "weur"),
        {},
        "Server 'web': property 'id' is the only positional argument.\nPass properties by keyword.",
    ),
]


@pytest.mark.parametrize(("args", "properties", "message"), WRONG, ids=[w[2][:60] for w in WRONG])
def test_a_wrong_argument_is_refused_and_named(
    args: tuple[Any, ...], properties: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidPropertyError) as caught:
        Server(*args, **properties)

    assert str(caught.value) == message


def test_a_kind_without_properties_says_so() -> None:
    with pytest.raises(InvalidPropertyError) as caught:
        LaterDefined("x", size=1)  # type: ignore[call-arg]  # wrong on purpose

    assert (
        str(caught.value) == "LaterDefined 'x': property 'size' is unknown.\nIts properties: none."
    )


def test_a_password_in_a_property_is_warned_about() -> None:
    with pytest.warns(PlainSecretWarning) as caught:
        settled(Server("web", region="postgres://ada:secret@db/orders"))
    line = sys._getframe().f_lineno - 1

    assert str(caught[0].message) == (
        "Server 'web': property 'region' seems to hold a password, which would be recorded in clear text.\n"
        "Pass alchemy.env('VARIABLE') instead: the variable's name is recorded, not its value.\n"
        "Or annotate it as Secret and pass alchemy.secret(...): that is encrypted in state and never printed."
    )
    assert (caught[0].filename, caught[0].lineno) == (__file__, line)


def test_a_password_anywhere_in_a_property_is_warned_about() -> None:
    with pytest.warns(PlainSecretWarning) as caught:
        settled(Server("web", region="weur", tags={"dbs": ["none", "redis://:secret@cache/0"]}))

    assert str(caught[0].message).startswith(
        "Server 'web': property 'tags' seems to hold a password"
    )


@pytest.mark.parametrize(
    "text",
    ["https://db/orders", "https://ada@db", "https://db/a:b@c", "ada:secret@db", "x://ada:@db"],
)
def test_an_address_without_a_password_is_not_warned_about(text: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        settled(Server("web", region=text))

    assert caught == []


# Outputs


def test_an_output_that_is_read_too_early_is_an_error_that_says_what_to_do() -> None:
    server = settled(Server("web", region="weur"))

    with pytest.raises(OutputNotReadyError) as caught:
        _ = server.host

    assert str(caught.value) == (
        "Server 'web' has no 'host' yet: outputs are known once the resource exists.\n"
        "Create it first: scope.create(resource), or await it in an async test."
    )
    assert not hasattr(server, "host")


def test_the_name_is_not_known_before_the_resource_belongs_to_a_scope() -> None:
    server = settled(Server("web", region="weur"))

    with pytest.raises(AttributeError, match=r"^This resource belongs to no scope yet"):
        _ = server.name


def test_an_output_of_the_wrong_type_is_named_and_dropped() -> None:
    server = settled(Server("web", region="weur"))
    server.ports = [80, "https"]

    with pytest.raises(InvalidPropertyError) as caught:
        kind_of(Server).check_outputs(server)

    assert (
        str(caught.value) == "Server 'web': property 'ports[1]' has to be int, not str ('https')."
    )
    assert not hasattr(server, "ports")


# Hooks


@pytest.mark.parametrize(
    ("hook", "remedy"),
    [
        ("create", "Call scope.create(resource), or await the resource in a coroutine."),
        ("destroy", "Call scope.remove(resource), or let the end of its scope destroy it."),
        ("update", "Call scope.create() again with the changed properties."),
        ("read", "The engine calls it by itself when it needs to know."),
    ],
)
def test_a_hook_that_is_called_from_outside_is_refused(hook: str, remedy: str) -> None:
    resource = settled(Watched("web"))

    with pytest.raises(HookCalledError) as caught:
        getattr(resource, hook)(None)

    assert str(caught.value) == (
        f"Watched 'web': the hook {hook}() was called from outside: nothing would be recorded.\n{remedy}"
    )
    assert Watched.called == []


def test_a_hook_that_a_class_does_not_have_is_refused_as_well() -> None:
    resource = settled(Hooks("web"))

    with pytest.raises(HookCalledError, match=r"^Hooks 'web': the hook read\(\) was called"):
        resource.read()


class Given:
    """Hooks that several resource classes share."""

    def create(self) -> None: ...

    def destroy(self) -> None: ...


class Taking(Given, Resource):
    """Has its hooks from a class that is no resource."""


def test_a_hook_that_another_class_gives_is_refused_as_well() -> None:
    resource = settled(Taking("web"))

    with pytest.raises(HookCalledError):
        resource.create()


# Never created


def drop() -> None:
    Server("web", region="weur")
    gc.collect()


def test_a_resource_that_is_never_created_is_warned_about_at_the_authors_line() -> None:
    with pytest.warns(ResourceNeverCreatedWarning) as caught:
        drop()

    assert str(caught[0].message) == (
        "Server 'web' was made as an object, but neither created nor awaited: nothing exists.\n"
        "Create it with scope.create(...), or await it."
    )
    assert (caught[0].filename, caught[0].lineno) == (__file__, drop.__code__.co_firstlineno + 1)


def test_a_resource_that_was_refused_is_not_warned_about_as_well() -> None:
    with warnings.catch_warnings(record=True) as caught:
        with pytest.raises(InvalidPropertyError):
            Server("web")  # type: ignore[call-arg]  # wrong on purpose
        gc.collect()

    assert caught == []


# Definitions


def define(name: str = "Bad", bases: tuple[type, ...] = (Hooks,), **body: Any) -> type[Resource]:
    keywords = body.pop("keywords", {})
    annotations = body.pop("annotations", {})
    namespace = {"__annotations__": annotations, "__module__": __name__, **body}
    return types.new_class(name, bases, keywords, lambda made: made.update(namespace))


def generator(self: Any) -> Any:
    yield


async def async_generator(self: Any) -> Any:
    yield


YIELDS = "A hook is a plain or an async method without yield; what comes after the yield belongs into destroy()."
BAD_CLASSES: list[tuple[dict[str, Any], str]] = [
    *(
        (
            {"annotations": {name: "str"}},
            f"a property may not be named {name!r}, which every resource has already.\n"
            f"Give it another name, for example bad_{name}.",
        )
        for name in ("id", "name", "scope", "create", "read", "update", "destroy", "world", "list")
    ),
    (
        {"annotations": {"_size": "int"}},
        "a property may not start with an underscore, as '_size' does.\n"
        "Properties and outputs are public; annotate what is none of them as ClassVar.",
    ),
    (
        {"name_": None, "scope": property(lambda self: 3)},
        "it may not define 'scope', which every resource has already.\nGive it another name.",
    ),
    (
        {"create": 3},
        "'create' is not a method.\nWrite it as def create(self, ...).",
    ),
    ({"create": generator}, f"create() yields, so that calling it would do nothing.\n{YIELDS}"),
    (
        {"destroy": async_generator},
        f"destroy() yields, so that calling it would do nothing.\n{YIELDS}",
    ),
    (
        {"host": output()},
        "the output 'host' has no annotation, so it would not be recorded.\n"
        "Say of which type it is: host: str = output()",
    ),
    *(
        (
            {"keywords": {"kind": kind}},
            f"{kind!r} is not a kind.\n"
            'Use lower-case letters and digits: class ...(Resource, kind="bucket2")',
        )
        for kind in ("", "R2", "a-b", "ä")
    ),
]


@pytest.mark.parametrize(("body", "message"), BAD_CLASSES, ids=[m[:50] for _, m in BAD_CLASSES])
def test_a_class_that_cannot_work_is_refused_when_it_is_defined(
    body: dict[str, Any], message: str
) -> None:
    with pytest.raises(ResourceDefinitionError) as caught:
        define(**body)

    assert str(caught.value) == f"Resource class Bad: {message}"


BAD_WHEN_USED: list[tuple[type[Resource], str]] = [
    (
        define(annotations={"size": "NoSuchType"}),
        "an annotation names 'NoSuchType', which is not defined when the first object is made.\n"
        "Import it at module level (not only under TYPE_CHECKING).",
    ),
    (
        define(annotations={"call": "threading.Lock"}),
        "an annotation names 'threading', which is not defined when the first object is made.\n"
        "Import it at module level (not only under TYPE_CHECKING).",
    ),
    (
        define(annotations={"rule": "NameRule | Hooks | slice"}),
        "the property 'rule' cannot be recorded: a value of type slice cannot be recorded.\n"
        "Use plain data, dataclasses, paths, resources or alchemy.env(...).",
    ),
    (
        define(bases=(Resource,)),
        "it has no create and no destroy.\n"
        "A resource can be made and unmade: define both, plain or async.",
    ),
    (
        define(bases=(Resource,), create=lambda self: None),
        "it has no destroy.\nA resource can be made and unmade: define both, plain or async.",
    ),
]


@pytest.mark.parametrize(("cls", "message"), BAD_WHEN_USED, ids=[m[:50] for _, m in BAD_WHEN_USED])
def test_a_class_that_cannot_work_is_refused_when_it_is_used(
    cls: type[Resource], message: str
) -> None:
    with pytest.raises(ResourceDefinitionError) as caught:
        cls("x")

    assert str(caught.value) == f"Resource class Bad: {message}"


def test_the_base_class_itself_is_no_resource() -> None:
    with pytest.raises(ResourceDefinitionError) as caught:
        Resource("x")

    assert str(caught.value).startswith("Resource class Resource: it has no create and no destroy.")


def test_what_a_class_says_of_itself_is_inherited_but_for_the_kind() -> None:
    class Bucket(Hooks, kind="s3", name_rule=NameRule(max=40), create_timeout=5.0, parallel=False):
        pass

    class Archive(Bucket):
        pass

    kinds = kind_of(Bucket), kind_of(Archive)

    assert [kind.name for kind in kinds] == ["s3", "archive"]
    assert [kind.title for kind in kinds] == ["Bucket", "Archive"]
    for kind in kinds:
        assert (kind.name_rule.max, kind.create_timeout, kind.parallel) == (40, 5.0, False)
    assert (kind_of(Hooks).create_timeout, kind_of(Hooks).parallel) == (60.0, True)


def test_a_class_inside_a_function_cannot_be_imported() -> None:
    class Local(Hooks):
        pass

    assert not kind_of(Local).importable
    assert kind_of(Server).importable


def test_hooks_may_come_from_a_mixin() -> None:
    class Mixin:
        def create(self) -> None: ...

        def destroy(self) -> None: ...

    cls = define(bases=(Mixin, Resource))

    assert settled(cls("x")).id == "x"


# Reading back


def revived(**record: Any) -> Any:
    kind_of(Server).fields()  # annotations are resolved when they are first needed
    record = {"region": "weur"} | record
    outputs: dict[str, Any] = {
        name: record.pop(name) for name in kind_of(Server).outputs if name in record
    }

    def resolve(reference: dict[str, Any]) -> Any:
        raise LookupError(reference)

    return kind_of(Server).revive("web", record, outputs, resolve)


def test_a_resource_is_rebuilt_from_its_record() -> None:
    server = revived(
        size=5, folder="/tmp/x", password={"$env": "PW"}, limits={"cpu": 2}, ports=[80]
    )

    assert (server.id, server.region, server.size, server.ports) == ("web", "weur", 5, [80])
    assert (server.folder, server.password, server.limits) == (Path("/tmp/x"), Env("PW"), Limits(2))
    assert server.tags == {}
    assert not hasattr(server, "host")


def test_what_refers_to_something_gone_is_left_unset() -> None:
    server = revived(later={"$ref": {"key": "laterdefined-l"}}, size=4)

    assert "later" not in vars(server)
    assert server.size == 4


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"size": "big"}, "property 'size' has to be int, not str ('big')."),
        ({"ports": [80, "x"]}, "property 'ports[1]' has to be int, not str ('x')."),
        (
            {"colour": "red"},
            "property 'colour' is unknown.\n"
            "Its properties: region, size, folder, tags, limits, password, peer, later.",
        ),
        ({"siez": 1}, "property 'siez' is unknown.\nDid you mean 'size'?"),
    ],
)
def test_a_record_that_does_not_fit_its_class_is_refused_and_the_field_named(
    record: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidPropertyError) as caught:
        revived(**record)

    assert str(caught.value) == f"Server 'web': {message}"


def test_a_property_that_its_record_lacks_is_named() -> None:
    with pytest.raises(InvalidPropertyError) as caught:
        kind_of(Server).revive("web", {}, {}, lambda reference: reference)

    assert str(caught.value) == "Server 'web': property 'region' is missing in its record."


class Commented(Hooks):
    """A property with a comment in its annotation."""

    password: Annotated[Env, "of the server"]


def test_a_comment_in_an_annotation_changes_nothing() -> None:
    with pytest.raises(InvalidPropertyError, match="has to be Env, not str"):
        Commented("x", password="clear")  # type: ignore[arg-type]  # wrong on purpose
