"""Float32 safetensors files with Python's standard library: an 8-byte little-endian header length, a JSON header
{"name": {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}, ...}, and the raw little-endian data."""

import array
import json
import os
import struct
import sys


def write(path, tensors):
    """tensors: {name: (shape, array('f'))}, written in this order, to a temporary file that is then renamed."""
    header, offset = {}, 0
    for name, (shape, values) in tensors.items():
        size = 4 * len(values)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the data starts at a multiple of 8, as other writers do it
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, values in tensors.values():
            f.write(_little_endian(values).tobytes())
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, path)


def read(path):
    """{name: (shape, array('f'))}. ValueError for anything but a complete float32 file."""
    with open(path, "rb") as f:
        data = f.read()
    if len(data) < 8:
        raise ValueError(f"{path}: {len(data)} bytes, expected at least the 8 of the header length")
    length = struct.unpack("<Q", data[:8])[0]
    if 8 + length > len(data):
        raise ValueError(f"{path}: the header length {length} goes past the end of the file ({len(data)} bytes)")
    header = json.loads(data[8:8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        count = 1
        for extent in entry["shape"]:
            count *= extent
        if entry["dtype"] != "F32" or end - begin != 4 * count or not 0 <= begin <= end <= len(data) - 8 - length:
            raise ValueError(f"{path}: tensor '{name}': {entry} is not float32 data inside the file")
        values = array.array("f")
        values.frombytes(data[8 + length + begin:8 + length + end])
        tensors[name] = (tuple(entry["shape"]), _little_endian(values))
    return tensors


def _little_endian(values):
    if sys.byteorder == "little":
        return values
    swapped = array.array("f", values)
    swapped.byteswap()
    return swapped
