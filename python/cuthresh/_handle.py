"""Owners of the library's objects."""

import weakref
from ctypes import byref, c_void_p

from ._library import check


class Handle:
    """One object of the library. Closing it closes what was made from it first, so that the order in
    which Python drops its wrappers does not matter."""

    def __init__(self, destroy, create, parent=None):
        self._destroy = destroy
        self._children = set()
        self._parent = parent
        self.pointer = None
        made = c_void_p()
        check(create(byref(made)))
        self.pointer = made
        if parent is not None:
            parent._children.add(self)

    def close(self):
        for child in list(self._children):
            child.close()
        pointer, self.pointer = self.pointer, None
        if pointer is not None:
            self._destroy(pointer)
        if self._parent is not None:
            self._parent._children.discard(self)


class Owner:
    """Base of the wrappers: frees its handle when it is closed, left as a context manager, or dropped."""

    _handle = None

    def _own(self, handle):
        self._handle = handle
        self._finalizer = weakref.finalize(self, handle.close)

    @property
    def pointer(self):
        pointer = self._handle.pointer if self._handle is not None else None
        if pointer is None:
            raise ValueError(f"cuthresh.{type(self).__name__}: it is closed; make a new one")
        return pointer

    def close(self):
        """Frees it, and what was made from it, now. May be called again."""
        if self._handle is not None:
            self._handle.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
