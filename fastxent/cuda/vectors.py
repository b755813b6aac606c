"""A row as vectors of 16 bytes at aligned addresses: the first may begin before it, the last end after it.

`raw` is a local array for what memory holds, whose length and element size compilers know.
"""

from .package import address, device, load_vector, store_vector


@device
def lead_of(row, raw):
    """Elements from the aligned address before the row, to it; 0 where classes lie apart."""
    return (address(row) % 16) // raw.itemsize if row.strides[0] == raw.itemsize else 0


@device
def _is_inside(row, j, raw):
    return row.strides[0] == raw.itemsize and j >= 0 and j + len(raw) <= row.size


@device
def take(row, j, raw, z, outside, decode):
    """Elements j, j + 1, ... of a row to z; `outside` where there is none."""
    if _is_inside(row, j, raw):
        load_vector(row, j, raw)
        for k in range(len(z)):
            z[k] = decode(raw[k])
    else:
        for k in range(len(z)):
            z[k] = decode(row[j + k]) if j + k >= 0 and j + k < row.size else outside


@device
def put(row, j, raw, z, encode):
    """As `take`, the other way; where vectors are not aligned here too, one by one."""
    encode(z, raw)
    if _is_inside(row, j, raw) and (address(row) + j * raw.itemsize) & 15 == 0:
        for first in range(0, len(raw), 16 // raw.itemsize):
            store_vector(row, j + first, raw, first)
    else:
        for k in range(len(z)):
            if j + k >= 0 and j + k < row.size:
                row[j + k] = raw[k]
