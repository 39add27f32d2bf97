"""Runs every code block of README.md and of the documentation.

    run_blocks.py TREE MODEL

TREE is an installed tree, MODEL the demo model.  A block runs in a folder of its own that has what
the documentation's examples name: model.vmoe, picture.jpg, images.npy, holiday/, validation/ and a
CHECKPOINT.  A comment in front of a block can say

    <!-- not run: REASON -->            why it is not run here; it is counted and listed
    <!-- main: CODE -->                 the main function that a block of C leaves to the reader
    <!-- in: PATH -->                   that it runs in a copy of the repository, in that folder
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120
PICTURES = ROOT / "examples/demo/pictures"
PLACES = ["*.md", "docs/*.md", "examples/*/README.md", "tests/*/README.md", "bench/*.md"]
UPSTREAM = [ROOT / "../shared/golden/models/token", ROOT / "tests/data/golden/models/gap"]


def blocks_of(path):
    """Yields (line, language, marks, text) of each fenced block."""
    marks, inside, text = {}, None, []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        mark = re.fullmatch(r"<!-- (not run|main|in): (.*) -->", line.strip())
        if inside is not None and line.strip() == "```":
            yield begin, inside, marks, "\n".join(text) + "\n"
            marks, inside, text = {}, None, []
        elif inside is not None:
            text.append(line)
        elif line.lstrip().startswith("```"):
            begin, inside = number, line.strip()[3:]
        elif mark:
            marks[mark[1]] = mark[2]
    if inside is not None:
        raise SystemExit(f"{path}:{begin}: the block has no end")


def furnish(folder, model):
    """Puts there what the examples name."""
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


def environment(tree):
    extra = {
        "PATH": f"{tree}/bin:" + os.environ["PATH"],
        "PKG_CONFIG_PATH": f"{tree}/lib/pkgconfig",
        "LD_LIBRARY_PATH": f"{tree}/lib",
        "VMOE_LIBRARY": f"{tree}/lib/libvmoe.so",
        "PYTHONPATH": str(ROOT / "examples/python"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return {**os.environ, **extra}


def command_of(language, marks, text, folder):
    """What runs the block, as a line for the shell."""
    link = "$(pkg-config --cflags --libs libvmoe)"
    if language == "sh":
        (folder / "block.sh").write_text(text)
        return f"sh -eu {folder}/block.sh"
    if language == "c":
        (folder / "block.c").write_text(text + marks.get("main", ""))
        return f"cc -std=c11 -Wall -Wextra -Werror block.c {link} -o block && ./block model.vmoe"
    if language == "cpp":
        (folder / "block.cpp").write_text(text)
        return f"c++ -std=c++17 -Wall -Wextra -Werror block.cpp {link} -o block && ./block model.vmoe"
    if language == "python":
        (folder / "block.py").write_text(text)
        return f"{sys.executable} {folder}/block.py"
    return None


def run_block(language, marks, text, tree, model):
    """The output of a block that failed, or None."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        furnish(folder, model)
        command = command_of(language, marks, text, folder)
        if command is None:
            return f"nobody knows how to run {language or 'a block without a language'}"
        where = folder
        if "in" in marks:
            copy = folder / "repository"
            ignored = shutil.ignore_patterns("build", ".git", "target")
            shutil.copytree(ROOT, copy, ignore=ignored)
            where = copy / marks["in"]
        try:
            done = subprocess.run(command, shell=True, cwd=where, env=environment(tree), text=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return f"it takes more than {SECONDS} s"
        return None if done.returncode == 0 else done.stdout or "no output"


def main():
    tree, model = (Path(argument).resolve() for argument in sys.argv[1:3])
    passed = failed = skipped = 0
    for path in sorted({p for place in PLACES for p in ROOT.glob(place)}):
        for line, language, marks, text in blocks_of(path):
            name = f"{path.relative_to(ROOT)}:{line}"
            if "not run" in marks:
                skipped += 1
                print(f"ok - {name} {language} # skip: {marks['not run']}")
                continue
            problem = run_block(language, marks, text, tree, model)
            passed += problem is None
            failed += problem is not None
            print(f"{'ok' if problem is None else 'not ok'} - {name} {language}")
            if problem is not None:
                print("".join(f"#   {each}\n" for each in problem.splitlines()), end="")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed > 0 or passed == 0


if __name__ == "__main__":
    sys.exit(main())
