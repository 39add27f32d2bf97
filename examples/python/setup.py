"""Builds the shared library with the repository's Makefile and puts it into the wheel."""
import pathlib
import shutil
import subprocess

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # before setuptools 70.1
    from wheel.bdist_wheel import bdist_wheel

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERSION = (ROOT / "VERSION").read_text().strip()


class BuildWithLibrary(build_py):
    def run(self):
        super().run()
        subprocess.run(["make", "-j2", "lib"], cwd=ROOT, check=True)
        built = ROOT / "build" / "release" / f"libvmoe.so.{VERSION}"
        if self.editable_mode:  # the package stays where it is
            carried = pathlib.Path(__file__).with_name("vmoe") / "libvmoe.so"
            carried.unlink(missing_ok=True)
            carried.symlink_to(built.with_name("libvmoe.so"))
        else:
            shutil.copy(built, pathlib.Path(self.build_lib) / "vmoe" / "libvmoe.so")


class PlatformDistribution(Distribution):
    """The wheel is for one platform."""

    def has_ext_modules(self):
        return True


class WheelOfAnyPython(bdist_wheel):
    """The library knows nothing of Python, so that any version may load it."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(version=VERSION, distclass=PlatformDistribution,
      cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": WheelOfAnyPython})
