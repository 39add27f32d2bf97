"""Every public name of the Python package says what it takes, what it gives and what it raises."""
import dataclasses
import inspect
import sys
import unittest
from typing import Any, Iterator

import support  # noqa: F401  (finds the package)

import vmoe
import vmoe.batch
import vmoe.evaluate

MODULES = [vmoe, vmoe.batch, vmoe.evaluate]
try:
    import vmoe.plots
    MODULES.append(vmoe.plots)
except ImportError:  # there is no matplotlib
    pass


def public() -> Iterator[tuple[str, Any]]:
    """The package, its modules and classes, and their public functions, methods and properties."""
    for module in MODULES:
        yield module.__name__, module
        names = vmoe.__all__ if module is vmoe else [
            name for name, found in vars(module).items()
            if getattr(found, "__module__", None) == module.__name__ and not name.startswith("_")]
        for name in names:
            found = getattr(module, name)
            if not (inspect.isclass(found) or inspect.isfunction(found)):
                continue
            yield f"{module.__name__}.{name}", found
            for member, value in vars(found).items() if inspect.isclass(found) else ():
                if isinstance(value, (classmethod, property)):
                    value = value.fget if isinstance(value, property) else value.__func__
                if inspect.isfunction(value) and not member.startswith("_"):
                    yield f"{module.__name__}.{name}.{member}", value


class Docstrings(unittest.TestCase):
    def test_everything_has_one(self) -> None:
        for name, found in public():
            with self.subTest(name):
                self.assertTrue(found.__doc__ and found.__doc__.strip())

    def test_parameters_and_fields_are_explained(self) -> None:
        for name, found in public():
            if inspect.isfunction(found):
                parameters = [p for p in inspect.signature(found).parameters if p != "self" and p != "cls"]
            elif dataclasses.is_dataclass(found) or hasattr(found, "_fields"):
                parameters = list(inspect.signature(found).parameters)
            else:
                continue
            for parameter in parameters:
                with self.subTest(f"{name}({parameter})"):
                    self.assertRegex(found.__doc__ or "", rf"(?s)\b{parameter}\b[\w, ]*: ")

    def test_arrays_have_shapes(self) -> None:
        for name, found in public():
            given = inspect.isfunction(found) and inspect.signature(found).return_annotation
            if "ndarray" in str(given):
                with self.subTest(name):
                    self.assertRegex(found.__doc__ or "", r"\([\w, ]+, [\w, ]+\)")

    def test_calls_say_what_they_raise(self) -> None:
        for name, found in public():
            if inspect.isfunction(found) and "options" in inspect.signature(found).parameters:
                with self.subTest(name):
                    self.assertIn("Raises", found.__doc__ or "")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
