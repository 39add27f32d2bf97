"""libvmoe from Python: sparse Vision Transformers on CPUs, with NumPy arrays in and out.

    import vmoe
    with vmoe.Model.load("model.vmoe") as model:
        for c in model.classify("picture.jpg", vmoe.Options(capacity=0.5, priority="bpr-max")):
            print(f"{c.probability:6.1%}  {c.index} {c.label}")

A model may be used by any number of threads at once; calls release the GIL.
"""
from ._library import ArgumentError, Cancelled, Error, FileError, NoMemoryError, Status
from .model import Model
from .options import Cancel, Options
from .results import Class, Cost, Info, Preprocessing, Report, Result

__all__ = ["ArgumentError", "Cancel", "Cancelled", "Class", "Cost", "Error", "FileError", "Info",
           "Model", "NoMemoryError", "Options", "Preprocessing", "Report", "Result", "Status"]
