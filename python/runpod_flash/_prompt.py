"""What the file of `__main__` defines, and what was typed at the prompt that came after it: `python -i script.py`.

What the file defines has a name in a worker, which loads the same file; what was typed has none, and travels by value.
"""

from __future__ import annotations

import sys
from types import FunctionType

from ._module import innermost

#: The names at the top level of a file.
_names: dict[str, frozenset[str]] = {}


def is_of_file(obj: type | FunctionType, file: str) -> bool:
    """Whether `file`, the one of `__main__`, is where `obj` comes from. A class that has no methods is taken for the file's when that has
    one of its name: nothing else tells where it was typed."""
    if isinstance(obj, FunctionType):
        code = getattr(innermost(obj), "__code__", None)
        return code is not None and code.co_filename == file
    if obj.__qualname__.partition(".")[0] not in _names_in(file):
        return False
    return not any(_is_typed(value) for value in vars(obj).values())


def _is_typed(member: object) -> bool:
    code = getattr(getattr(member, "fget", None) or getattr(member, "__func__", member), "__code__", None)
    # "<string>" is what dataclasses and named tuples make.
    return code is not None and code.co_filename.startswith("<") and code.co_filename != "<string>"


def _names_in(file: str) -> frozenset[str]:
    names = _names.get(file)
    if names is None:
        import linecache
        import symtable

        source = "".join(linecache.getlines(file, vars(sys.modules["__main__"])))
        try:
            names = frozenset(symtable.symtable(source, file, "exec").get_identifiers())
        except (SyntaxError, ValueError):  # it was changed since
            names = frozenset()
        _names[file] = names
    return names
