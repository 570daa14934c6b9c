"""The same calls in two interpreters of one process, each of which has a session of its own, then in the first again."""

import sys

import everywhere

try:
    import _interpreters as interpreters  # Python 3.13
except ImportError:
    import _xxsubinterpreters as interpreters

PROGRAM = f"import sys; sys.path[:] = {sys.path!r}; import everywhere; everywhere.check()"

if __name__ == "__main__":
    everywhere.check()
    sys.stdout.flush()
    second = interpreters.create()
    execute = getattr(interpreters, "exec", None) or interpreters.run_string
    assert execute(second, PROGRAM + "; sys.stdout.flush()") is None
    interpreters.destroy(second)
    everywhere.check()
