"""What the constructor of a resource does not take."""

from __future__ import annotations

from pytest_alchemy import Resource, output


class Bucket(Resource):
    region: str
    size: int = 3
    host: str = output()

    def create(self) -> None:
        self.host = self.name

    def destroy(self) -> None: ...


Bucket("uploads")  # error
Bucket(region="weur")  # error
Bucket("uploads", "weur")  # error
Bucket("uploads", region=7)  # error
Bucket("uploads", region="weur", size="large")  # error
Bucket("uploads", region="weur", colour="red")  # error
Bucket("uploads", region="weur", profile=7)  # error
Bucket("uploads", region="weur", host="elsewhere")  # error
Bucket(7, region="weur")  # error
Bucket("uploads", region="weur").host + 1  # error
