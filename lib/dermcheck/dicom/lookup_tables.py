"""Tables from every possible stored value to 8 bits, for samples that are not plain 8-bit RGB.

pydicom applies such tables to whole pictures. Ours are applied to the at most 65,536 possible
values: one picture-sized lookup remains, and memory stays bounded. pydicom's `apply_color_lut` and
`apply_voi` are not used: in 3.0.2 they wrap around where more than 256 inputs map to 8-bit entries,
and read 16-bit entries of big-endian files in the wrong byte order.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_windowing

__all__ = ["grey_table", "palette_table", "scaled"]

_FAR: Final = 1e12  # a value beyond every window
_COLOURS: Final = ("Red", "Green", "Blue")


def scaled(values: NDArray[Any], lowest: float, highest: float) -> NDArray[np.uint8]:
    """Scale the range from `lowest` to `highest` to 0..255 and round; outside of it, clip.

    >>> scaled(np.array([0, 2048, 4095]), 0, 4095)
    array([  0, 128, 255], dtype=uint8)
    """
    factor = 255 / max(float(highest) - float(lowest), 1e-9)
    scaled_values = np.rint((values.astype(np.float64) - lowest) * factor)
    eight_bit: NDArray[np.uint8] = np.clip(scaled_values, 0, 255).astype(np.uint8)
    return eight_bit


def palette_table(stored: NDArray[Any], dataset: Dataset) -> NDArray[np.uint8]:
    """Return the (values, 3) colours of stored palette indices (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6).

    16-bit entries are scaled by 255 / 65535. Where no entry exceeds 255 they are 8-bit entries,
    whatever the descriptor says (a common mistake).

    Raises
    ------
    ValueError, AttributeError
        If the tables are missing or of another length than their descriptor says.
    """
    count, first, _ = dataset.RedPaletteColorLookupTableDescriptor
    count = count or 1 << 16
    if "RedPaletteColorLookupTableData" in dataset:
        entries = np.stack([_palette_entries(dataset, colour, count) for colour in _COLOURS], -1)
    else:  # segmented (C.7.9.2)
        entries = apply_color_lut(np.arange(first, first + min(count, 256))[None], dataset)[0, :, :3]
        if count > 256:
            if entries.dtype == np.uint8:
                raise ValueError("segmented 8-bit palettes of more than 256 entries are not supported")
            entries = apply_color_lut(np.arange(first, first + count)[None], dataset)[0, :, :3]
    colours = scaled(entries, 0, 255 if entries.max() < 256 else 65535)
    return _looked_up(colours, stored, first)


def _palette_entries(dataset: Dataset, colour: str, count: int) -> NDArray[Any]:
    data = bytes(dataset[f"{colour}PaletteColorLookupTableData"].value)
    is_big = not dataset.file_meta.TransferSyntaxUID.is_little_endian
    if len(data) >= 2 * count:
        return np.frombuffer(data, ">u2" if is_big else "<u2", count)
    if len(data) < count:
        raise ValueError(f"the {colour.lower()} palette holds {len(data)} bytes, expected {count} or more")
    if is_big:  # bytes stored as 16-bit words (PS3.5 8.1.1)
        data = np.frombuffer(data, "<u2").byteswap().tobytes()
    return np.frombuffer(data, np.uint8, count)


def grey_table(stored: NDArray[Any], photometric: str, dataset: Dataset) -> NDArray[np.uint8]:
    """Return what a viewer shows for stored grey values (PS3.4 N.2): modality LUT, VOI, inversion.

    Raises
    ------
    ValueError, AttributeError, NotImplementedError
        If a window or table is damaged.
    """
    values = apply_modality_lut(stored, dataset)
    if dataset.get("VOILUTSequence"):
        table = _voi_table(values, dataset.VOILUTSequence[0], dataset)
    elif dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        with np.errstate(over="ignore"):  # a sigmoid window, far from its centre
            ends = apply_windowing(np.array([-_FAR, _FAR]), dataset)
            table = scaled(apply_windowing(values, dataset), ends.min(), ends.max())
    else:
        table = scaled(values, values.min(), values.max())
    return np.invert(table) if photometric == "MONOCHROME1" else table


def _voi_table(values: NDArray[Any], item: Dataset, dataset: Dataset) -> NDArray[np.uint8]:
    """Apply the first VOI LUT (PS3.3 C.11.2.1.1)."""
    count, first, bits = item.LUTDescriptor
    data = item.LUTData
    if isinstance(data, bytes):
        data = np.frombuffer(data, "<u2" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">u2")
    entries = scaled(np.asarray(data)[: count or 1 << 16], 0, (1 << bits) - 1)
    return _looked_up(entries, np.rint(values).astype(np.int64), first)


def _looked_up(entries: NDArray[np.uint8], values: NDArray[Any], first: int) -> NDArray[np.uint8]:
    """Take entry 0 for the value `first`; values before and behind the table take its ends."""
    found: NDArray[np.uint8] = entries[np.clip(values - first, 0, len(entries) - 1)]
    return found
