"""Tables as netCDF-4 files in memory: the same table is the same bytes, and no file library meets a full disk."""

import gc
import threading
from collections.abc import Mapping
from typing import Any

import xarray

_alone = threading.Lock()


def netcdf(table: xarray.Dataset, encoding: Mapping[str, Any] | None = None) -> bytes:
    """Return a table as a netCDF-4 file.

    HDF5 lays a file out in the order in which its parts are closed. Where the garbage collector closes some of them, at
    a moment of its own choice, that order is chance: it waits meanwhile.
    """
    with _alone:
        collects = gc.isenabled()
        gc.disable()
        try:
            return bytes(table.to_netcdf(engine="h5netcdf", encoding=encoding))
        finally:
            if collects:
                gc.enable()
