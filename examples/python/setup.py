"""Builds the shared library with the repository's Makefile and puts it into the wheel."""
import pathlib
import shutil
import subprocess

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERSION = (ROOT / "VERSION").read_text().strip()


class BuildWithLibrary(build_py):
    def run(self):
        super().run()
        subprocess.run(["make", "-j2", "lib"], cwd=ROOT, check=True)
        shutil.copy(ROOT / "build" / "release" / f"libvmoe.so.{VERSION}",
                    pathlib.Path(self.build_lib) / "vmoe" / "libvmoe.so")


class PlatformDistribution(Distribution):
    """The wheel is for one platform, though any Python may load the library."""

    def has_ext_modules(self):
        return True


setup(version=VERSION, cmdclass={"build_py": BuildWithLibrary}, distclass=PlatformDistribution)
