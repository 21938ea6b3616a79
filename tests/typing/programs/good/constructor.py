"""The id is positional, properties are keywords, a default may be left out, outputs are typed."""

from __future__ import annotations

from typing import assert_type

from pytest_alchemy import Resource, output


class Bucket(Resource, kind="s3", create_timeout=30.0):
    region: str
    size: int = 3
    tags: dict[str, str] = {}  # noqa: RUF012  (every object gets a copy)
    host: str = output()
    port: int = output()

    def create(self) -> None:
        self.host, self.port = f"{self.name}.example.org", 443

    def destroy(self) -> None:
        assert_type(self.name, str)


class Visitor(Resource):
    profile: str = "guest"  # a property of its own, which is what the keyword means here

    def create(self) -> None: ...

    def destroy(self) -> None: ...


class Archive(Bucket, kind="archive"):
    years: int

    def destroy(self) -> None:
        assert_type(self.region, str)


bucket = Bucket("uploads", region="weur")
sized = Bucket("uploads", region="weur", size=4, tags={"team": "a"})
other = Bucket("uploads", region="weur", profile="backup")
archive = Archive("old", region="weur", years=7)
assert_type(bucket, Bucket)
assert_type(bucket.id, str)
assert_type(bucket.name, str)
assert_type(bucket.region, str)
assert_type(other.profile, str)
assert_type(bucket.host, str)
assert_type(sized.port, int)
assert_type(Visitor("ada", profile="a painter").profile, str)
