"""A device, a stream, and what they need."""

from ctypes import byref, c_char_p, c_uint64, sizeof

from . import _abi
from ._handle import Owner
from ._library import check, library

_DEVICES = {"cpu": _abi.CPU, "cuda": _abi.CUDA}


class Context(Owner):
    """Where plans live: Context() is the CPU, Context("cuda", 0, stream=s) a GPU and the caller's
    stream (a cudaStream_t as a number; None is the default stream). `threads`: at most so many on the
    CPU; 0: one a core that the process may use.

    Calls on one context wait for each other, from any thread."""

    def __init__(self, device="cpu", index=0, threads=0, stream=None):
        if device not in _DEVICES:
            raise ValueError(f"cuthresh.Context: device must be one of {', '.join(_DEVICES)} (got {device!r})")
        options = _abi.ContextOptions(sizeof(_abi.ContextOptions), _DEVICES[device], index, threads, stream or None)
        self._stream = stream
        self._own(library.cth_context_destroy, lambda made: library.cth_context_create(byref(options), made))

    @property
    def stream(self):
        return self._stream

    @stream.setter
    def stream(self, stream):
        """What follows is enqueued there, after what was enqueued before."""
        check(library.cth_context_set_stream(self.pointer, stream or None))
        self._stream = stream

    @property
    def description(self):
        text = c_char_p()
        check(library.cth_context_description(self.pointer, byref(text)))
        return text.value.decode()

    @property
    def bytes_to_host(self):
        """Bytes that came from the device so far."""
        count = c_uint64()
        check(library.cth_context_bytes_to_host(self.pointer, byref(count)))
        return count.value

    def synchronize(self):
        """Waits until all that was enqueued is done."""
        check(library.cth_context_synchronize(self.pointer))

    def __repr__(self):
        return f"cuthresh.Context({self.description})"
