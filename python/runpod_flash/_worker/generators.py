"""Random number generators over a fork: all workers begin with their zygote's, and must not draw the same numbers.

The standard library sees to `random` by itself. numpy's and torch's global generators get a new state in each worker, unless the
project's modules seeded them: then every worker begins alike, as the program says.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any


class TorchSeed:
    """Sees torch being imported, and keeps the seed that it drew for itself: once a program has seeded it, it has another."""

    def __init__(self) -> None:
        self.drawn: int | None = None
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        loader: Any = spec and spec.loader
        if loader is not None:
            execute = loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                if hasattr(module, "initial_seed"):  # else it is another module of that name
                    self.drawn = module.initial_seed()

            loader.exec_module = exec_module
        return spec


def reseed(torch_seed: TorchSeed) -> None:
    """Gives the generators that nobody seeded a state of this process's own."""
    # numpy keeps the SeedSequence that an import drew, until `seed()` drops it.
    random: Any = getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None)
    if getattr(getattr(random, "_bit_generator", None), "_seed_seq", None) is not None:
        random.seed()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch_seed.drawn is not None and torch.initial_seed() == torch_seed.drawn:
        torch.seed()
