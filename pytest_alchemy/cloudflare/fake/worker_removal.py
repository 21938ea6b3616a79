"""How a worker is deleted: what has to go before it, and what goes with it."""

from __future__ import annotations

from pytest_alchemy.cloudflare.fake import queues, worker_bindings
from pytest_alchemy.cloudflare.fake.documents import DOMAINS, ROUTES, remove_all_of
from pytest_alchemy.cloudflare.fake.storage import Storage
from pytest_alchemy.cloudflare.fake.wire import Refusal

_TABLES_OF_SCRIPT = ("worker_versions", "worker_bindings", "worker_deployments", "worker_assets")


def check_unused(storage: Storage, script: str) -> None:
    """
    Check that nothing in the account needs *script*, as a delete without ``force`` has to.

    Raises:
        Refusal: It consumes a queue, is called by another worker, or answers at a domain or a route.
    """
    if queues.consumed_by(storage, script):
        raise _refused(
            "it is a consumer for a Queue. Remove it from the Queue's consumers first, then delete it."
        )
    callers = [
        caller
        for caller in worker_bindings.bound_workers(storage, "service", script)
        if caller != script
    ]
    if callers:
        raise _refused(
            "it is still referenced by service bindings in Workers: "
            f"{', '.join(callers)}. Remove the bindings first, or delete it with force.",
            code=10142,
        )
    places = [
        document.name.rpartition(" ")[2]
        for shelf in (DOMAINS, ROUTES)
        for document in shelf.all(storage, owner=f"worker/{script}")
    ]
    if places:
        # Clients remove these first; nobody has confirmed the refusal.
        raise _refused(
            f"it still answers at {', '.join(places)}. "
            "Remove these domains and routes first, or delete it with force."
        )


def remove(storage: Storage, tag: str) -> None:
    """Remove the worker with the id *tag* and all that goes with it; gone already is fine."""
    db = storage.db
    for (name,) in db.execute("SELECT name FROM workers WHERE tag = ?", (tag,)).fetchall():
        db.execute(
            "DELETE FROM worker_modules WHERE version IN (SELECT id FROM worker_versions WHERE script = ?)",
            (name,),
        )
        for table in _TABLES_OF_SCRIPT:
            db.execute(f"DELETE FROM {table} WHERE script = ?", (name,))  # noqa: S608 (our words)
        queues.set_producer(storage, name, ())
        db.execute("DELETE FROM queue_consumers WHERE script = ?", (name,))
        db.execute("DELETE FROM workers WHERE name = ?", (name,))
        remove_all_of(storage, f"worker/{name}")


def _refused(why: str, code: int = 10064) -> Refusal:
    return Refusal(400, code, f"Cannot delete this Worker as {why}")
