"""What a worker tells its controller of a long teardown."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_alchemy.plugin.progress import messenger


def test_a_line_tells_how_far_it_is(tmp_path: Path) -> None:
    file = tmp_path / "progress"

    messenger(str(file), "gw0")("shop/test_one", 1, 3, 6.2, "File 'db'")

    assert file.read_text() == (
        "alchemy: [gw0] shop/test_one: 1 of 3 destroyed after 6 s, waiting for File 'db'\n"
    )


def test_no_secret_stands_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "correct horse battery")
    file = tmp_path / "progress"
    called = "deferred drop('postgres://ada:pw1234@db/x', 'correct horse battery')"

    messenger(str(file), "gw0")("shop/test_one", 0, 1, 6.0, called)

    assert "pw1234" not in file.read_text()
    assert "horse" not in file.read_text()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    file, other = tmp_path / "progress", tmp_path / "other"
    file.symlink_to(other)

    messenger(str(file), "gw0")("shop/test_one", 0, 1, 6.0, "")

    assert not other.exists()
