"""How a run imports what its scopes need."""

from __future__ import annotations

import pytest

# What pytest does with all modules of an installed plugin.
CONFTEST = """
def pytest_configure(config):
    config.pluginmanager.rewrite_hook.mark_rewrite("pytest_alchemy.scope", "helper", "late_helper")
"""

TESTS = """
import helper

def test_loaders(alchemy_scope):
    import late_helper
    import pytest_alchemy.scope
    modules = helper, late_helper, pytest_alchemy.scope
    print("LOADED BY", *(type(module.__loader__).__name__ for module in modules))
"""


def test_only_the_engine_is_imported_without_rewriting_its_assertions(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS, helper="", late_helper="")

    result = pytester.runpytest_subprocess("-s")

    result.stdout.fnmatch_lines(
        ["*LOADED BY AssertionRewritingHook AssertionRewritingHook SourceFileLoader*"]
    )


def test_a_run_without_scopes_imports_nothing_but_the_entry(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nalchemy_app = shop\nalchemy_stage = blue")
    pytester.makeconftest(
        """
        import sys

        def pytest_unconfigure(config):
            print("IMPORTED", *sorted(name for name in sys.modules if name.startswith("pytest_alchemy")))
        """
    )
    pytester.makepyfile("def test_one(tmp_path): pass")

    result = pytester.runpytest_subprocess("-pno:xdist")

    result.stdout.fnmatch_lines(
        ["*IMPORTED pytest_alchemy pytest_alchemy.plugin pytest_alchemy.plugin.options"]
    )


def test_what_looks_for_leftovers_is_imported_before_a_test_changes_the_world(
    pytester: pytest.Pytester,
) -> None:
    pytester.mkdir(".alchemy")
    pytester.makeconftest(
        """
        import sys
        import threading

        start = threading.Thread.start
        # The thread that looks would import it as well, a moment later.
        threading.Thread.start = lambda self: self.name == "alchemy-leftovers" or start(self)

        def pytest_collection_finish():
            print("IMPORTED", "pytest_alchemy.recovery.reapable" in sys.modules)
        """
    )
    pytester.makepyfile("def test_one(alchemy_scope): pass")

    result = pytester.runpytest_subprocess()

    result.stdout.fnmatch_lines(["*IMPORTED True*"])
