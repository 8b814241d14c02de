"""Finds libcuthresh.so, once, at import."""

import ctypes
import ctypes.util
import os
from pathlib import Path

from . import _abi
from .errors import OK, error_of

_REMEDY = ("set CUTHRESH_LIBRARY to a built libcuthresh.so, or install the package with its library: "
           "pip install ./python in cuthresh's source tree")


def _candidates():
    """(where it is named, path or None): what $CUTHRESH_LIBRARY names and nothing else; else beside
    the package, then the system's."""
    given = os.environ.get("CUTHRESH_LIBRARY")
    if given:
        path = Path(given)
        yield "CUTHRESH_LIBRARY", str(path / "libcuthresh.so" if path.is_dir() else path)
        return
    beside = Path(__file__).resolve().parent / "libcuthresh.so"
    yield "beside the package", str(beside) if beside.exists() else None
    yield "the system's", ctypes.util.find_library("cuthresh")


def _numbers(version):
    return ".".join(str(part) for part in version)


def _with_signatures(library):
    for name, (result, arguments) in _abi.SIGNATURES.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ImportError(f"it has no {name}: it is older than this package, or no libcuthresh") from None
        function.restype = result
        function.argtypes = arguments
    parts = [ctypes.c_int() for _ in range(3)]
    library.cth_version_numbers(*(ctypes.byref(part) for part in parts))
    version = tuple(part.value for part in parts)
    if version[0] != _abi.NEEDED[0] or version < _abi.NEEDED:
        raise ImportError(f"it is version {_numbers(version)}, and this package needs "
                          f"{_numbers(_abi.NEEDED)} or a later {_abi.NEEDED[0]}.x")
    return library


def _load():
    tried = []
    for where, path in _candidates():
        if path is None:
            tried.append(f"{where}: none")
            continue
        try:
            return _with_signatures(ctypes.CDLL(path)), path
        except (OSError, ImportError) as error:
            tried.append(f"{where} ({path}): {error}")
    raise ImportError("cuthresh found no library that it can use; tried " + "; ".join(tried) + ". Remedy: " + _REMEDY)


library, library_path = _load()


def check(status):
    """Raises what a status other than CTH_OK says."""
    if status != OK:
        raise error_of(status, library.cth_last_error().decode("utf-8", "replace"))


def version():
    return library.cth_version().decode()
