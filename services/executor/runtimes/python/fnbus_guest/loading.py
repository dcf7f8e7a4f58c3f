"""From a folder of user code to the module that it is."""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


class LoadError(Exception):
    """The code has no handler, or none of the style that is asked for."""


def load(root: str, entrypoint: str) -> ModuleType:
    """Run the entry file and return its module.

    The entry file's folder becomes the current one and the first on the module path; what was installed for the function
    (`.deps`) comes after its own files.

    Raises:
        BaseException: whatever the code raises, SyntaxError and SystemExit included.
    """
    path = os.path.join(root, entrypoint)
    folder = os.path.dirname(path)
    places = [folder, root, os.path.join(folder, ".deps"), os.path.join(root, ".deps")]
    sys.path[:0] = [place for place in dict.fromkeys(places) if os.path.isdir(place)]
    sys.argv[:] = [path]
    os.chdir(folder)
    return _run(path)


def _run(path: str) -> ModuleType:
    stem = os.path.basename(path).rpartition(".")[0]
    taken = stem in sys.modules or stem in sys.stdlib_module_names
    name = stem if stem.isidentifier() and not taken else "fnbus_function"
    loader = SourceFileLoader(name, path)
    module = type(sys)(name)
    module.__spec__ = ModuleSpec(name, loader, origin=path)
    module.__loader__ = loader
    module.__file__ = path
    sys.modules[name] = module
    loader.exec_module(module)
    return module
