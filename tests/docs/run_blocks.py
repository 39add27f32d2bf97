"""Runs every code block of README.md and of the documentation.

    run_blocks.py TREE MODEL [--target TARGET] [PAGE...]

TREE is an installed tree in the build folder, MODEL the demo model.  The blocks of a page run one after
the other in a folder that has what the documentation's examples name.  Of a `console` block the lines
behind "$ " are run and the others are what they must print, where "..." stands for anything; `text` is
not code.  Comments in front of a block can say

    <!-- not run: REASON -->      why it is not run; it is counted and listed
    <!-- run by: TARGET -->       that only `make TARGET` can run it, which calls this with --target
    <!-- needs: PROGRAM -->       that it is skipped where this program is missing
    <!-- in: PATH -->             that it runs in a copy of the repository, in that folder
    <!-- main: CODE -->           the main function that a block of C leaves to the reader
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import narrow
from blocks import Mistake, blocks_of

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300
PICTURES = ROOT / "examples/demo/pictures"
PLACES = ["*.md", "docs/*.md", "examples/*/README.md", "tests/*/README.md", "bench/*.md"]
UPSTREAM = [ROOT / "../shared/demo", ROOT / "../shared/golden/models/token", ROOT / "tests/data/golden/models/gap"]


def furnish(folder, model):
    """Puts there what the examples name, and a home and a `sudo` of its own."""
    shutil.copy(model, folder / "model.vmoe")
    shutil.copy(PICTURES / "bag.jpg", folder / "picture.jpg")
    (folder / "holiday").mkdir()
    for name in ("bag", "coat"):
        shutil.copy(PICTURES / f"{name}.jpg", folder / "holiday")
        (folder / "validation" / name.capitalize()).mkdir(parents=True)
        shutil.copy(PICTURES / f"{name}.jpg", folder / "validation" / name.capitalize())
    code = "import numpy; numpy.save('images.npy', numpy.zeros((4, 28, 28, 3), 'u1'))"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    source = next(s for s in UPSTREAM if (s / "model.index").exists())
    for part in source.glob("model.*"):
        shutil.copy(part, folder / part.name.replace("model.", "CHECKPOINT.", 1))
    for name in narrow.RELEASED:
        narrow.write(folder, name)
    (folder / "home").mkdir()
    (folder / "bin").mkdir()
    (folder / "bin/sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (folder / "bin/sudo").chmod(0o755)


def copy_repository(folder, build):
    """Sources, and what was built of the library and the command, so that `make` has little to do."""
    copy = folder / "repository"
    ignored = shutil.ignore_patterns("build", ".git", "target", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=ignored)
    ignored = shutil.ignore_patterns("tests", "bench", "*-tree", "venv", "docs", "python")
    shutil.copytree(build, copy / "build" / build.name, ignore=ignored, symlinks=True)
    shutil.copy(ROOT / "examples/c/minimal.c", copy / "app.c")


def environment(tree, folder):
    """An installation goes to a folder of its own, and `make check` cannot contain itself."""
    home = os.environ.get("HOME", "/")
    overrides = {"CONFIG": tree.parent.name, "PREFIX": f"{folder}/usr", "CHECK_BUILDS": "all",
                 "CHECK_COMMANDS": '"sh\\ tests/check_layers.sh"'}
    extra = {
        "PATH": f"{folder}/bin:{tree}/bin:" + os.environ["PATH"],
        "HOME": f"{folder}/home",
        "CARGO_HOME": os.environ.get("CARGO_HOME", f"{home}/.cargo"),
        "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", f"{home}/.rustup"),
        "MAKEFLAGS": " -- " + " ".join(f"{name}={value}" for name, value in overrides.items()),
        "PKG_CONFIG_PATH": f"{folder}/usr/lib/pkgconfig:{tree}/lib/pkgconfig",
        "CMAKE_PREFIX_PATH": f"{tree}",
        "LD_LIBRARY_PATH": f"{folder}/usr/lib:{tree}/lib",
        "VMOE_LIBRARY": f"{tree}/lib/libvmoe.so",
        "PYTHONPATH": str(ROOT / "examples/python"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return {**os.environ, **extra}


def command_of(block, folder):
    """What runs the block, as a line for the shell."""
    link = "$(pkg-config --cflags --libs libvmoe)"
    warnings = "-Wall -Wextra -Werror"
    text = block.text + block.marks.get("main", "")
    if block.language == "console":
        text = "".join(f"{line[2:]}\n" for line in text.splitlines() if line.startswith("$ "))
    name, command = {
        "sh": ("block.sh", f"sh -eu {folder}/block.sh"),
        "console": ("block.sh", f"sh -u {folder}/block.sh; true"),
        "c": ("block.c", f"cc -std=c11 {warnings} block.c {link} -o block && ./block model.vmoe"),
        "cpp": ("block.cpp", f"c++ -std=c++17 {warnings} block.cpp {link} -o block && ./block model.vmoe"),
        "python": ("block.py", f"{sys.executable} {folder}/block.py"),
        "cmake": ("CMakeLists.txt", "cmake -S . -B built && cmake --build built && built/app model.vmoe picture.jpg"),
        "meson": ("meson.build", "meson setup built && ninja -C built && built/app model.vmoe picture.jpg"),
    }[block.language]
    (folder / name).write_text(text)
    return command


def differs(block, printed):
    """What a console block promises and does not keep, or None."""
    expected = "".join(f"{line}\n" for line in block.text.splitlines() if not line.startswith("$ "))
    pattern = ".*".join(re.escape(part) for part in expected.split("..."))
    if re.fullmatch(pattern, printed, re.DOTALL):
        return None
    return f"it says\n{expected}and prints\n{printed}"


def run_block(block, tree, folder):
    """What is wrong with a block, or None."""
    where = folder
    if "in" in block.marks:
        if not (folder / "repository").exists():
            copy_repository(folder, tree.parent)
        where = folder / "repository" / block.marks["in"]
    try:
        command = command_of(block, folder)
    except KeyError:
        return f"nobody knows how to run {block.language or 'a block without a language'}"
    try:
        done = subprocess.run(command, shell=True, cwd=where, env=environment(tree, folder), text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"it takes more than {SECONDS} s"
    if block.language == "console":
        return differs(block, done.stdout)
    return None if done.returncode == 0 else done.stdout or "no output"


def why_not(block, target):
    """Why a block is not run, or None."""
    if "not run" in block.marks:
        return block.marks["not run"]
    if block.marks.get("run by") != target:
        return f"make {block.marks['run by']} runs it"
    if shutil.which(block.marks.get("needs", "sh")) is None:
        return f"there is no {block.marks['needs']}"
    return None


def run_page(path, target, tree, model, count):
    """Runs the blocks of a page, prints a line for each, and counts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        furnish(folder, model)
        blocks = [b for b in blocks_of(path.read_text(encoding="utf-8")) if b.language != "text"]
        if target:
            blocks = [b for b in blocks if b.marks.get("run by") == target]
        for block in blocks:
            title = f"{os.path.relpath(path, ROOT)}:{block.line} {block.language}"
            reason = why_not(block, target)
            if reason:
                count["skipped"] += 1
                print(f"ok - {title} # skip: {reason}", flush=True)
                continue
            problem = run_block(block, tree, folder)
            count["failed" if problem else "passed"] += 1
            print(f"{'not ok' if problem else 'ok'} - {title}", flush=True)
            if problem:
                print("".join(f"#   {each}\n" for each in problem.splitlines()), end="")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tree", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("pages", type=Path, nargs="*")
    parser.add_argument("--target")
    given = parser.parse_args()
    count = {"passed": 0, "failed": 0, "skipped": 0}
    for path in given.pages or sorted({p for place in PLACES for p in ROOT.glob(place)}):
        try:
            run_page(path.resolve(), given.target, given.tree.resolve(), given.model.resolve(), count)
        except Mistake as mistake:
            count["failed"] += 1
            print(f"not ok - {path}: {mistake}")
    print(", ".join(f"{number} {name}" for name, number in count.items()))
    return count["failed"] > 0 or count["passed"] == 0


if __name__ == "__main__":
    sys.exit(main())
