"""From what callers have to memory that the library works on, in place.

NumPy arrays and whatever else has __array_interface__; then __dlpack__ (PyTorch, CuPy, JAX, …); then
Python's buffer protocol (array.array, memoryview). Nothing is ever copied: what cannot be used as it
is, is refused with what to do."""

import ctypes
from typing import Any, NamedTuple

from . import _abi
from ._library import check, library


class Memory(NamedTuple):
    """Elements in memory. `owner` keeps them alive."""

    data: int
    size: int
    device_type: int = _abi.CPU
    device_index: int = 0
    dtype: int = _abi.FLOAT32
    owner: Any = None

    def struct(self):
        return _abi.TensorStruct(self.data or None, self.size, self.dtype, self.device_type, self.device_index)


_TYPES = {"f4": _abi.FLOAT32, "f8": _abi.FLOAT64, "f2": _abi.FLOAT16}
_FORMATS = {"f": _abi.FLOAT32, "d": _abi.FLOAT64, "e": _abi.FLOAT16}
_EXPECTED = "expected float32, float64, float16 or bfloat16"


def memory_of(array, what="array", writable=True, stream=None):
    """The memory of `array`; `what` names it in messages."""
    if isinstance(array, Memory):
        return array
    if hasattr(array, "__array_interface__"):
        memory, read_only = _of_array_interface(array, what)
    elif hasattr(array, "__dlpack__"):
        memory, read_only = _of_dlpack(array, what, stream)
    else:
        memory, read_only = _of_buffer(array, what)
    if writable and read_only:
        raise ValueError(f"{what}: is read-only, and it is changed in place; pass a copy that can be written")
    return memory


def _refuse_strides(what):
    raise ValueError(f"{what}: is not contiguous, and it is worked on in place; pass a contiguous array, e.g. "
                     "numpy.ascontiguousarray(x), and keep it")


def _of_array_interface(array, what):
    view = array.__array_interface__
    kind = view["typestr"]
    # NumPy has no bfloat16 of its own: that of ml_dtypes looks like two bytes of anything.
    dtype = _abi.BFLOAT16 if str(getattr(array, "dtype", "")) == "bfloat16" else _TYPES.get(kind[1:])
    if kind[0] == ">" or dtype is None:
        raise TypeError(f"{what}: {_EXPECTED} in this machine's byte order (got {kind}); convert it once, e.g. "
                        "x.astype('float32'), and keep the result: it is worked on in place")
    size = 1
    for extent in view["shape"]:
        size *= extent
    if size > 0 and view.get("strides") is not None and not _is_row_major(view["shape"], view["strides"],
                                                                         int(kind[2:])):
        _refuse_strides(what)
    pointer, read_only = view["data"]
    return Memory(pointer, size, dtype=dtype, owner=array), read_only


def _is_row_major(shape, strides, item):
    expected = item
    for extent, stride in zip(reversed(shape), reversed(strides)):
        if extent != 1 and stride != expected:
            return False
        expected *= extent
    return True


_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype = ctypes.c_void_p
_get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


def _of_dlpack(array, what, stream):
    """The capsule is not consumed: it stays the owner, and frees its tensor when it goes."""
    device_type = int(array.__dlpack_device__()[0]) if hasattr(array, "__dlpack_device__") else _abi.CPU
    try:
        capsule = array.__dlpack__() if device_type != _abi.CUDA else array.__dlpack__(stream=stream or 1)
    except (BufferError, RuntimeError, TypeError) as error:
        raise ValueError(f"{what}: cannot be exported through DLPack ({error}); of a PyTorch tensor pass "
                         "x.detach()") from error
    struct = _abi.TensorStruct()
    check(library.cth_tensor_from_dlpack(_get_pointer(capsule, b"dltensor"), ctypes.byref(struct)))
    return Memory(struct.data or 0, struct.size, struct.device_type, struct.device_index, struct.dtype,
                  (array, capsule)), False


def _of_buffer(array, what):
    try:
        view = memoryview(array)
    except TypeError:
        raise TypeError(f"{what}: expected an array of floats: NumPy's, one with __dlpack__, or one with a buffer (got "
                        f"{type(array).__name__})") from None
    if view.format not in _FORMATS:
        raise TypeError(f"{what}: {_EXPECTED} (got a buffer of format {view.format!r}); pass e.g. array('f', …)")
    if not view.c_contiguous:
        _refuse_strides(what)
    size = view.nbytes // view.itemsize
    dtype = _FORMATS[view.format]
    if view.readonly or size == 0:
        return Memory(0, size, dtype=dtype, owner=view), view.readonly
    pointer = ctypes.addressof(ctypes.c_char.from_buffer(view.cast("B")))
    return Memory(pointer, size, dtype=dtype, owner=view), False
