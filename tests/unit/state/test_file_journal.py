from __future__ import annotations

import errno
import os
import pickle
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_alchemy import clock
from pytest_alchemy.errors import (
    AlchemyError,
    JournalCorruptError,
    JournalForeignError,
    JournalFormatError,
    JournalReadError,
    JournalWriteError,
    LinkRefusedError,
    StateFolderError,
)
from pytest_alchemy.records import Created, Destroyed, Destroying, Record, encode
from pytest_alchemy.state import journal as journal_module
from pytest_alchemy.state.disk import disk
from pytest_alchemy.state.journal import FileJournal, _mac, read_journal
from tests.unit.state.samples import ALL_KINDS, KEY, OTHER_KEY, PATIENCE, child, header, intent

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs what only POSIX systems have")


def write(path: Path, records: tuple[Record, ...] = ALL_KINDS, *, key: bytes = KEY) -> list[bytes]:
    """Return the lines, with their ends, of a journal of *records*."""
    journal = FileJournal.open(path, header(), key=key, durable=False)
    for record in records:
        journal.append(record)
    journal.close()
    return path.read_bytes().splitlines(keepends=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


# Making one


def test_the_first_line_is_the_header_with_an_id_of_its_own(tmp_path: Path) -> None:
    one = FileJournal.open(tmp_path / "one", header(), key=KEY, durable=False)
    two = FileJournal.open(tmp_path / "two", header(), key=KEY, durable=True)

    assert read_journal(tmp_path / "one", KEY).header == one.header
    assert len(one.header.journal) == 20
    assert one.header.journal != two.header.journal


@posix
def test_a_journal_is_for_its_user_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        write(path)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_journal_that_exists_is_never_overwritten(path: Path) -> None:
    before = write(path)

    with pytest.raises(JournalWriteError, match="exists"):
        FileJournal.open(path, header(), key=KEY, durable=False)

    assert path.read_bytes() == b"".join(before)


@posix
def test_a_dangling_link_is_not_followed_when_a_journal_is_made(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(JournalWriteError):
        FileJournal.open(path, header(), key=KEY, durable=False)

    assert not (tmp_path / "elsewhere").exists()


def test_a_header_that_cannot_be_written_leaves_no_file(path: Path) -> None:
    with pytest.raises(JournalWriteError, match="no plain data"):
        FileJournal.open(path, header(folder="/\ud800"), key=KEY, durable=False)

    assert not path.exists()


def test_a_folder_that_a_neighbour_removed_is_made_again(tmp_path: Path) -> None:
    write(tmp_path / ".journal" / "main")

    assert (tmp_path / ".journal" / "main").exists()


def test_a_journal_without_a_place_says_so(tmp_path: Path) -> None:
    with pytest.raises(JournalWriteError, match="no such file"):
        FileJournal.open(tmp_path / "a" / "b" / "main", header(), key=KEY, durable=False)


def test_closing_twice_is_quiet_and_nothing_is_recorded_after(path: Path) -> None:
    journal = FileJournal.open(path, header(), key=KEY, durable=False)
    journal.close()
    journal.close()

    with pytest.raises(JournalWriteError, match="it is closed"):
        journal.append(intent(1))


@posix
def test_nothing_is_made_once_the_journal_was_deleted(path: Path) -> None:
    journal = FileJournal.open(path, header(), key=KEY, durable=False)
    path.unlink()

    with pytest.raises(JournalWriteError) as caught:
        journal.append(intent(1))

    assert str(caught.value) == (
        f"Journal {path} could not be written: it was deleted while in use.\n"
        "What was to be recorded is not: leave that folder alone while something uses it."
    )


@posix
@pytest.mark.parametrize(
    "later", [0.02, -3600.0], ids=["a moment later", "after the clock was set back"]
)
def test_a_journal_is_looked_for_again_after_a_moment(path: Path, later: float) -> None:
    first = intent(1)
    journal = FileJournal.open(path, header(), key=KEY, durable=False)
    journal.append(first)
    path.unlink()

    with pytest.raises(JournalWriteError, match="deleted while in use"):
        journal.append(replace(intent(2), at=first.at + later))


@posix
def test_a_forked_child_does_not_write_into_its_parents_journal(path: Path) -> None:
    program = """
import os, sys
from pytest_alchemy.errors import JournalWriteError
from pytest_alchemy.state.journal import FileJournal
from tests.unit.state.samples import KEY, header, intent

journal = FileJournal.open(sys.argv[1], header(), key=KEY, durable=False)
pid = os.fork()
if pid == 0:
    try:
        journal.append(intent(1))
    except JournalWriteError as error:
        print(error.reason, flush=True)
    journal.close()
    os._exit(0)
os.waitpid(pid, 0)
journal.append(intent(2))
"""
    with child(program, str(path)) as forking:
        said = forking.finish()

    assert said == "this process is a fork of the one that owns it"
    assert read_journal(path, KEY).records == [intent(2)]


# What a crash leaves


def test_a_journal_cut_at_any_byte_of_its_last_three_lines_still_reads(path: Path) -> None:
    lines = write(path)
    data = b"".join(lines)
    start = len(data) - sum(map(len, lines[-3:]))

    for end in range(start, len(data) + 1):
        path.write_bytes(data[:end])
        contents = read_journal(path, KEY)

        whole = data[:end].count(b"\n")
        assert contents.records == list(ALL_KINDS[: whole - 1])
        assert contents.torn == (not data[:end].endswith(b"\n"))


def test_a_journal_cut_at_any_byte_of_its_first_line_has_no_header(path: Path) -> None:
    first = write(path)[0]

    for end in range(len(first)):
        path.write_bytes(first[:end])
        contents = read_journal(path, KEY)

        assert (contents.header, contents.records) == (None, [])
        assert contents.torn == (end > 0)


def test_zeros_that_a_power_cut_left_at_the_end_are_dropped(path: Path) -> None:
    data = b"".join(write(path))
    path.write_bytes(data + bytes(4096))

    contents = read_journal(path, KEY)

    assert contents.records == list(ALL_KINDS)
    assert contents.torn


def test_every_acknowledged_record_of_a_killed_process_is_read(path: Path) -> None:
    program = """
import sys
from pytest_alchemy.state.journal import FileJournal
from tests.unit.state.samples import KEY, header, intent

journal = FileJournal.open(sys.argv[1], header(), key=KEY, durable=False)
for number in range(1, 1_000_000):
    journal.append(intent(number))
    print(number, flush=True)
"""
    with child(program, str(path)) as writer:
        for _ in range(50):
            acknowledged = int(writer.answer())
        writer.kill()
        records = read_journal(path, KEY).records

    assert len(records) >= acknowledged >= 50
    assert records == [intent(number) for number in range(1, len(records) + 1)]


@pytest.mark.parametrize("torn", [b"", b"x", b"0123456789abcdef {"])
def test_whoever_reaps_goes_on_where_the_dead_writer_stopped(path: Path, torn: bytes) -> None:
    data = b"".join(write(path))
    path.write_bytes(data + torn)

    journal = FileJournal.reopen(path, KEY)
    journal.append(Destroyed(1))
    journal.close()

    contents = read_journal(path, KEY)
    assert contents.records == [*ALL_KINDS, Destroyed(1)]
    assert not contents.torn
    assert journal.header == contents.header


def test_a_journal_without_a_whole_first_line_cannot_be_gone_on_with(path: Path) -> None:
    path.write_bytes(b"0123")

    with pytest.raises(JournalCorruptError, match="ends before its first line does"):
        FileJournal.reopen(path, KEY)


def test_going_on_with_a_missing_journal_is_an_error_of_ours(path: Path) -> None:
    with pytest.raises(JournalWriteError, match="no such file"):
        FileJournal.reopen(path, KEY)


# What is not ours, or not as we wrote it


def flips(line: bytes) -> Iterator[tuple[int, bytes]]:
    for position in range(len(line)):
        yield position, line[:position] + bytes([line[position] ^ 1]) + line[position + 1 :]
    for position in range(len(line)):
        yield position, line[:position] + b"\n" + line[position + 1 :]


def test_a_flipped_byte_in_a_middle_line_is_told_with_file_and_line(path: Path) -> None:
    lines = write(path)
    middle = 5

    for _, flipped in flips(lines[middle]):
        if flipped == lines[middle]:
            continue
        path.write_bytes(b"".join([*lines[:middle], flipped, *lines[middle + 1 :]]))
        with pytest.raises(JournalCorruptError) as caught:
            read_journal(path, KEY)

        assert (caught.value.file, caught.value.line) == (str(path), middle + 1)


def test_a_flipped_byte_in_the_first_line_makes_the_journal_untrusted(path: Path) -> None:
    lines = write(path)

    for _, flipped in flips(lines[0]):
        if flipped == lines[0]:
            continue
        path.write_bytes(b"".join([flipped, *lines[1:]]))
        with pytest.raises(JournalForeignError):
            read_journal(path, KEY)


def test_a_whole_last_line_that_was_altered_is_not_taken_for_a_torn_one(path: Path) -> None:
    lines = write(path)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1].replace(b"destroyed", b"destroyer"))

    with pytest.raises(JournalCorruptError):
        read_journal(path, KEY)


@pytest.mark.parametrize(
    "order",
    [(0, 2, 1, 3), (0, 1, 3), (0, 1, 1, 2, 3), (0, 1, 2, 3, 0)],
    ids=["swapped", "left out", "doubled", "the header again"],
)
def test_lines_in_another_order_are_refused(path: Path, order: tuple[int, ...]) -> None:
    lines = write(path)[:4]
    path.write_bytes(b"".join(lines[number] for number in order))

    with pytest.raises(JournalCorruptError, match="altered, moved, or copied"):
        read_journal(path, KEY)


def test_a_line_of_another_journal_of_ours_is_refused(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    (tmp_path / "one").write_bytes(b"".join([*one[:-1], two[-1]]))

    with pytest.raises(JournalCorruptError) as caught:
        read_journal(tmp_path / "one", KEY)

    assert caught.value.line == len(one)


def test_a_journal_of_another_user_or_machine_is_refused(path: Path) -> None:
    write(path, key=OTHER_KEY)

    with pytest.raises(JournalForeignError):
        read_journal(path, KEY)


@pytest.mark.parametrize(
    "data", [b"\n", b"hello\n", b"\xff\xfe\n\n", b"0" * 16 + b' {"op":"kept"}\n']
)
def test_a_file_that_is_no_journal_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)

    with pytest.raises(JournalForeignError, match="no stage's"):
        read_journal(path, KEY)


def test_a_journal_of_a_newer_version_is_refused_by_its_format(path: Path) -> None:
    FileJournal.open(path, header(format=7), key=KEY, durable=False).close()

    with pytest.raises(JournalFormatError) as caught:
        read_journal(path, KEY)

    assert str(caught.value) == (
        f"Journal {path} has format 7, this version knows up to 1. Nothing of it is acted on.\n"
        "Use the version of pytest-alchemy that wrote it, or a newer one."
    )


def signed(journal: str, number: int, payload: bytes) -> bytes:
    mac = _mac(journal, KEY)
    mac.update(b"\0%d\0%b" % (number, payload))
    return mac.hexdigest().encode() + b" " + payload + b"\n"


def test_a_line_that_we_signed_but_cannot_understand_is_an_error(path: Path) -> None:
    first = signed("j", 1, encode(header(journal="j")))
    path.write_bytes(first + signed("j", 2, b'{"op":"sing","seq":1}'))

    with pytest.raises(JournalCorruptError, match="line 2: the line is no record"):
        read_journal(path, KEY)

    path.write_bytes(signed("j", 1, b'{"op":"stage","journal":"j"}'))
    with pytest.raises(JournalCorruptError, match="line 1: the line is no stage's"):
        read_journal(path, KEY)


@posix
def test_a_link_in_place_of_a_journal_is_not_read(path: Path, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(LinkRefusedError) as caught:
        read_journal(path, KEY)
    with pytest.raises(LinkRefusedError):
        FileJournal.reopen(path, KEY)

    assert str(caught.value) == (
        f"{path} is a link, and links are not followed: nothing was read or written.\n"
        "Remove the link, or name the folder it points to."
    )


@posix
def test_a_pipe_in_place_of_a_journal_is_not_waited_for(path: Path) -> None:
    os.mkfifo(path)

    with pytest.raises(StateFolderError, match="not an ordinary file"):
        read_journal(path, KEY)


def test_a_missing_journal_is_no_error_of_ours(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_journal(path, KEY)


# Disks that say no


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_told_and_what_was_recorded_still_reads(path: Path) -> None:
    journal = FileJournal.open(path, header(), key=KEY, durable=False)
    journal.append(intent(1))
    full, real = os.open("/dev/full", os.O_WRONLY), os.dup(journal._fd)
    os.dup2(full, journal._fd)

    with pytest.raises(JournalWriteError) as caught:
        journal.append(Created(1, {}))
    os.dup2(real, journal._fd)
    journal.append(Destroying(1))

    assert str(caught.value) == (
        f"Journal {path} could not be written: no space left on device.\n"
        "What was to be recorded is not: make room or make the folder writable, then try again."
    )
    assert read_journal(path, KEY).records == [intent(1), Destroying(1)]
    journal.close()
    for fd in (full, real):
        os.close(fd)


@posix
def test_a_line_that_only_half_fits_is_taken_back(path: Path) -> None:
    program = """
import resource, signal, sys
from pytest_alchemy.errors import JournalWriteError
from pytest_alchemy.state.journal import FileJournal
from tests.unit.state.samples import KEY, header, intent

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = FileJournal.open(sys.argv[1], header(), key=KEY, durable=False)
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, unlimited[1]))
written = 0
try:
    while True:
        journal.append(intent(written + 1))
        written += 1
except JournalWriteError as error:
    print(written, error.reason)
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
journal.append(intent(written + 1))
"""
    with child(program, str(path)) as writer:
        written, reason = writer.finish().split(" ", 1)

    contents = read_journal(path, KEY)
    assert reason == "file too large"
    assert int(written) > 2
    assert contents.records == [intent(n) for n in range(1, int(written) + 2)]
    assert not contents.torn


def test_a_flush_that_failed_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = FileJournal.open(path, header(), key=KEY, durable=True)

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(journal_module, "sync_data", broken)

    with pytest.raises(JournalWriteError, match="input/output error"):
        journal.append(intent(1))


def test_threads_that_wait_for_the_disk_share_one_flush(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = FileJournal.open(path, header(), key=KEY, durable=True)
    flushes: list[int] = []
    monkeypatch.setattr(journal_module, "sync_data", flushes.append)
    threads = [
        threading.Thread(target=journal.append, args=(Destroying(n),), daemon=True)
        for n in range(4)
    ]

    until = clock.monotonic() + PATIENCE
    with journal._sync_guard:  # as if another thread were flushing
        for thread in threads:
            thread.start()
        while journal._end[0] < 5:  # a line can be read a moment before its end is known
            assert clock.monotonic() < until
    for thread in threads:
        thread.join(PATIENCE)

    assert len(flushes) == 1


class Interrupted(BaseException):
    """What a signal handler raises in the middle of an append."""


@pytest.mark.parametrize("written", [0, 1, 20, None], ids=["nothing", "a byte", "a part", "all"])
def test_an_interrupt_in_the_middle_of_a_line_harms_nothing(
    path: Path, written: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = FileJournal.open(path, header(), key=KEY, durable=False)
    real = disk.write

    def interrupted(fd: int, data: bytes) -> int:
        real(fd, data[:written])
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write", staticmethod(interrupted))
        with pytest.raises(Interrupted):
            journal.append(Destroying(1))
    journal.append(Destroying(2))

    expected = [Destroying(2)] if written is not None else [Destroying(1), Destroying(2)]
    assert read_journal(path, KEY).records == expected


def test_what_somebody_else_put_between_our_lines_is_told(path: Path) -> None:
    journal = FileJournal.open(path, header(), key=KEY, durable=False)
    with path.open("ab") as other:
        other.write(b"garbage")

    journal.append(Destroying(1))

    with pytest.raises(JournalCorruptError):
        read_journal(path, KEY)


@posix
def test_patched_file_functions_do_not_reach_the_journal(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the engine must not come here")

    with monkeypatch.context() as patch:
        for name in ("open", "write", "read", "close", "fstat", "lstat", "access", "getpid"):
            patch.setattr(os, name, refuse)
        journal = FileJournal.open(path, header(), key=KEY, durable=False)
        journal.append(intent(1))
        records = read_journal(path, KEY).records
        journal.close()

    assert records == [intent(1)]


# Errors


@pytest.mark.parametrize(
    "error",
    [
        JournalWriteError("/x/journal", "no space left on device"),
        JournalCorruptError("/x/journal", 3, "the line was altered"),
        JournalForeignError("/x/journal"),
        JournalFormatError("/x/journal", 2, 1),
        LinkRefusedError("/x"),
        StateFolderError("/x", "it is not a folder"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_the_way_from_a_worker(error: AlchemyError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert str(copy) == str(error)


def test_journals_that_are_not_acted_on_say_what_to_do() -> None:
    corrupt = JournalCorruptError("/x/journal", 3, "the line was altered")
    foreign = JournalForeignError("/x/journal")

    assert isinstance(corrupt, JournalReadError)
    assert str(corrupt) == (
        "Journal /x/journal, line 3: the line was altered. Nothing of it is acted on.\n"
        "Destroy what its lines name by hand, then delete the file."
    )
    assert str(foreign) == (
        "Journal /x/journal was not written by this user on this machine: "
        "its first line carries another key's digest. Nothing of it is acted on.\n"
        "Recover it where it was written, or destroy what its lines name by hand and delete the file."
    )
