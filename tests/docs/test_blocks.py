"""How the code blocks of a page are found, and which pages are refused."""

import unittest

from blocks import Mistake, blocks_of


class BlocksTest(unittest.TestCase):
    def assert_mistake(self, sentence, page):
        with self.assertRaisesRegex(Mistake, sentence):
            list(blocks_of(page))

    def test_marks_belong_to_the_next_block(self):
        page = "<!-- in: docs -->\n<!-- needs: cc -->\n\n```c\nint x;\n```\n\n```\nls\n```\n"
        first, second = blocks_of(page)
        self.assertEqual(first, (4, "c", {"in": "docs", "needs": "cc"}, "int x;\n"))
        self.assertEqual(second, (8, "", {}, "ls\n"))

    def test_a_fence_ends_with_its_own_sign_and_length(self):
        (block,) = blocks_of("~~~~ sh\n```\n~~~\ntrue\n~~~~~\n")
        self.assertEqual((block.language, block.text), ("sh", "```\n~~~\ntrue\n"))

    def test_a_block_in_a_list_is_not_indented(self):
        (block,) = blocks_of("- first\n\n    more\n\n  ```sh\n  if true; then\n    ls\n  fi\n  ```\n")
        self.assertEqual(block.text, "if true; then\n  ls\nfi\n")

    def test_a_mark_needs_a_block(self):
        self.assert_mistake("line 1: no block follows", "<!-- not run: no time -->\ntext\n```sh\n```\n")
        self.assert_mistake("line 2: no block follows", "text\n<!-- in: docs -->\n")

    def test_a_block_needs_an_end(self):
        self.assert_mistake("line 2: the block has no end", "text\n```sh\nls\n~~~\n``\n")

    def test_an_indented_block_is_refused(self):
        self.assert_mistake("line 3: an indented block", "text\n\n    pip install vmoe\n")


if __name__ == "__main__":
    unittest.main()
