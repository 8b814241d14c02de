"""Owners of the library's objects."""

import os
import weakref
from ctypes import byref, c_void_p

from ._library import check


def _destroy(destroy, pointer, process):
    if os.getpid() == process:  # a fork has the library's memory, and not its threads
        destroy(pointer)


class Owner:
    """Base of the wrappers: frees what it has when it is closed, left as a context manager, or dropped.
    The library takes this in any order."""

    _pointer = None

    def _own(self, destroy, create):
        made = c_void_p()
        check(create(byref(made)))
        self._pointer = made
        self._finalizer = weakref.finalize(self, _destroy, destroy, made, os.getpid())

    @property
    def pointer(self):
        if self._pointer is None:
            raise ValueError(f"cuthresh.{type(self).__name__}: it is closed; make a new one")
        return self._pointer

    def close(self):
        """Frees it now. May be called again."""
        if self._pointer is not None:
            self._pointer = None
            self._finalizer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
