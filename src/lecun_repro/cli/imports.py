"""What no command needs to be imported."""

import sys
from contextlib import suppress
from importlib.machinery import ModuleSpec
from types import ModuleType


def import_torchmetrics() -> None:
    """Imports torchmetrics without SciPy, most of a second.

    It imports `scipy.signal` only to give one of its functions an old name, for a package that nothing here uses. Until
    torchmetrics is imported an empty module stands in the place, which has that name; whoever imports SciPy afterwards
    gets SciPy.
    """
    if "scipy" in sys.modules:
        return
    package, signal = ModuleType("scipy"), ModuleType("scipy.signal")
    for module in (package, signal):
        module.__spec__ = ModuleSpec(module.__name__, None)
    package.signal, signal.hamming = signal, None  # type: ignore[attr-defined]
    sys.modules |= {"scipy": package, "scipy.signal": signal}
    try:
        with suppress(ImportError, AttributeError):  # of a version that wants more, which Lightning then imports
            import torchmetrics  # noqa: F401
    finally:
        del sys.modules["scipy"], sys.modules["scipy.signal"]
