"""The code blocks of a Markdown page, with the marks that stand in front of them."""

import re
import textwrap
from collections import namedtuple

Block = namedtuple("Block", "line language marks text")

FENCE = re.compile(r"(`{3,}|~{3,}) *([^` ]*)[^`]*")
MARK = re.compile(r"<!-- (not run|run by|needs|main|in): (.*) -->")
ITEM = re.compile(r"(-|\*|\d+\.) ")


class Mistake(Exception):
    """The page does not mean what it seems to."""


def blocks_of(page):
    """Yields the fenced blocks of a page.

    Marks without a block, blocks without an end, and indented blocks, which cannot say what they
    are, raise Mistake.
    """
    marks, marked, fence, begin, text = {}, 0, None, 0, []
    blank, item = True, False
    for number, line in enumerate(page.splitlines(), 1):
        bare = line.strip()
        if fence:
            if bare == fence[1][0] * len(bare) and len(bare) >= len(fence[1]):
                yield Block(begin, fence[2], marks, textwrap.dedent("\n".join(text) + "\n"))
                marks, fence, text = {}, None, []
            else:
                text.append(line)
        elif opening := FENCE.fullmatch(bare):
            fence, begin = opening, number
        elif mark := MARK.fullmatch(bare):
            marks[mark[1]], marked = mark[2], number
        elif bare and marks:
            raise Mistake(f"line {marked}: no block follows this mark")
        elif blank and not item and line.startswith("    "):
            raise Mistake(f"line {number}: an indented block has no language; use a fence")
        blank = not bare
        if bare and not line.startswith(" "):
            item = bool(ITEM.match(line))
    if fence:
        raise Mistake(f"line {begin}: the block has no end")
    if marks:
        raise Mistake(f"line {marked}: no block follows this mark")
