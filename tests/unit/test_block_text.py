"""The text of `with` blocks, tried on those of Python's own library."""

from __future__ import annotations

import ast
import asyncio
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

from enginery.client import block_text

LIBRARY = Path(asyncio.__file__).parents[1]
MODULES = sorted(LIBRARY.glob("[c-s]*.py"))


def codes(code: CodeType) -> Iterator[CodeType]:
    """A code and all that is in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def blocks() -> Iterator[tuple[Path, ast.With, list[CodeType]]]:
    """The `with` statements of the library, each with the codes that it may be in."""
    for path in MODULES:
        source = path.read_text()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree, compiled = ast.parse(source), compile(source, str(path), "exec")
        every = [(code, {line for _, _, line in code.co_lines()}) for code in codes(compiled)]
        for node in ast.walk(tree):
            if isinstance(node, ast.With):
                yield path, node, [code for code, lines in every if node.lineno in lines]


def test_the_text_of_a_block_says_what_the_block_says_and_is_of_its_code() -> None:
    seen = 0
    for path, block, where in blocks():
        for code in where:
            try:
                body = block_text._body(code, str(path), block.lineno, 0)
            except (SyntaxError, block_text._Stale):
                continue  # a block that returns; the code of what it is in
            seen += 1
            assert ast.dump(ast.parse(body.code)) == ast.dump(ast.Module(block.body, []))
            first = ast.parse("\n" * (body.first_line - 1) + body.code).body[0]
            assert first.lineno == block.body[0].lineno
            break
        else:
            with pytest.raises(SyntaxError):
                block_text._body(where[-1], str(path), block.lineno, 0)
    assert seen > 50
