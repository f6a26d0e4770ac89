"""The text of a `with` block whose body is to run elsewhere, found from the frame that enters it.

The file (or the notebook cell, or what was typed at IPython's prompt) is read through `linecache`,
the `with` statement is found by its line, and the body's lines are taken as they stand, less their
common indentation; lines inside strings keep theirs. What cannot run as a text of its own is
refused: SyntaxError with the line. And what is read may be newer than what runs, when somebody has
edited the file meanwhile: so the body is compiled, and everything in its code must also be in the
code that runs.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator, Sequence
from functools import lru_cache
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_OPTIMIZED
from types import CodeType, FrameType
from typing import Any, NamedTuple, TypeGuard

ANNOTATIONS = annotations.compiler_flag
"""The flag by which code says that its annotations stay texts."""

FORM_2008 = "client.remote()"
"""How a block of 2008 begins."""


class Body(NamedTuple):
    """What is to run elsewhere: `code` stands in the file `filename` from `first_line` on.

    `lines` are those of its statements.
    """

    code: str
    first_line: int
    lines: range
    filename: str


def body_of(frame: FrameType, line: int, remote_line: int = 0) -> Body:
    """The body of the `with` statement that this frame has entered in this line.

    Of a block of 2008, `remote_line` is where it calls `client.remote()`, which must be its first
    statement and is left out. Raises SyntaxError for a body that cannot run elsewhere,
    RuntimeError when its text is not to be had.
    """
    filename = frame.f_code.co_filename
    if not linecache.getlines(filename, frame.f_globals):
        raise RuntimeError(
            f"the block did not run: its text cannot be found ({filename} is no file, cell or "
            "prompt of IPython); give the code as a text: view.execute('...')"
        )
    try:
        return _body(frame.f_code, filename, line, remote_line)
    except _Stale:
        linecache.checkcache(filename)
        linecache.getlines(filename, frame.f_globals)
    try:
        return _body(frame.f_code, filename, line, remote_line)
    except _Stale as error:
        raise RuntimeError(f"the block did not run: {error}") from None


class _Stale(Exception):
    """What is in the file is not what runs."""

    def __init__(self, filename: str) -> None:
        super().__init__(f"{filename} was edited after it was loaded; load it again")


class _NoStatement(_Stale):
    """It is not a `with` statement that has entered the block, as far as the file says."""

    def __init__(self, filename: str, line: int) -> None:
        Exception.__init__(
            self,
            f"line {line} of {filename} is not the `with` statement of a remote block; if it once "
            "was, the file was edited after it was loaded",
        )


@lru_cache(maxsize=256)
def _body(code: CodeType, filename: str, line: int, remote_line: int) -> Body:
    lines = linecache.getlines(filename)
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:
        raise _Stale(filename) from None
    block = _with_statement(tree, line)
    if block is None:
        raise _NoStatement(filename, line)
    shape = _Shape(filename, lines)
    statements = shape.statements(block, remote_line)
    shape.check(block, statements)
    if not _facts(shape.compiled(statements, code)) <= _facts(code):
        raise _Stale(filename)
    return Body(*_cut(lines, block, statements), filename)


def _with_statement(tree: ast.Module, line: int) -> ast.With | None:
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and node.lineno <= line <= _header_end(node):
            return node
    return None


def _header_end(block: ast.With) -> int:
    """The last line of what the `with` statement enters."""
    parts = [part for item in block.items for part in (item.context_expr, item.optional_vars)]
    return max(part.end_lineno or part.lineno for part in parts if part is not None)


def _first_line(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(each.lineno for each in decorators)])


def _last_line(statement: ast.stmt) -> int:
    return statement.end_lineno or statement.lineno


# --- what may stand in a block ----------------------------------------------------------------


class _Shape:
    """Refuses what cannot run as a text of its own."""

    def __init__(self, filename: str, lines: Sequence[str]) -> None:
        self._filename, self._lines = filename, lines

    def statements(self, block: ast.With, remote_line: int) -> list[ast.stmt]:
        """What of the body is to run elsewhere."""
        first, *rest = body = block.body
        if _first_line(first) <= _header_end(block):
            raise self._error(first, "a remote block stands in lines of its own, below `with`")
        if remote_line:
            if not _calls_remote(first) or not first.lineno <= remote_line <= _last_line(first):
                raise self._error(first, f"{FORM_2008} is the first statement of its `with` block")
            body = rest
        if all(isinstance(statement, ast.Global | ast.Pass) for statement in body):
            raise self._error(first, "there is nothing to run in this remote block")
        return body

    def check(self, block: ast.With, statements: Sequence[ast.stmt]) -> None:
        """Refuse what leaves the block, and a block in a block."""
        for other in [item for item in block.items if _makes_block(item)][1:]:
            raise self._error(other.context_expr, "one remote block inside another")
        for statement in statements:
            for node, why in _misfits(statement):
                raise self._error(node, why)

    def compiled(self, statements: Sequence[ast.stmt], within: CodeType) -> CodeType:
        """The code that Python makes of these statements in such a place."""
        begin = next(each for each in statements if not isinstance(each, ast.Global))
        body: list[ast.stmt] = [ast.copy_location(ast.Pass(), begin), *statements]
        flags = within.co_flags
        in_function = flags & CO_OPTIMIZED
        if in_function:
            asynchronous = flags & (CO_COROUTINE | CO_ASYNC_GENERATOR)
            kind = ast.AsyncFunctionDef if asynchronous else ast.FunctionDef
            arguments = ast.arguments([], [], None, [], [], None, [])
            function = kind(name="block", args=arguments, body=body, decorator_list=[])
            body = [ast.copy_location(function, begin)]
        module = ast.fix_missing_locations(ast.Module(body, []))
        flags = (flags & ANNOTATIONS) | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        try:
            code = compile(module, self._filename, "exec", flags, dont_inherit=True)
        except SyntaxError as error:
            raise SyntaxError(_refused(error.msg), *error.args[1:]) from None
        return next(filter(_is_code, code.co_consts)) if in_function else code

    def _error(self, node: ast.stmt | ast.expr, why: str) -> SyntaxError:
        line = self._lines[node.lineno - 1]
        column = len(_split(line, node.col_offset)[0]) + 1
        return SyntaxError(_refused(why), (self._filename, node.lineno, column, line))


def _refused(why: str) -> str:
    return f"{why}; nothing of the block was run"


def _misfits(node: ast.AST, loop: bool = False) -> Iterator[tuple[Any, str]]:
    """What cannot stand in a block, and why; `loop`: whether this is in a loop of the block."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Lambda():
            return
        case ast.Return() | ast.Yield() | ast.YieldFrom():
            name = "return" if isinstance(node, ast.Return) else "yield"
            yield node, f"`{name}` in a remote block, which runs elsewhere"
        case ast.Break() | ast.Continue() if not loop:
            name = type(node).__name__.lower()
            yield node, f"`{name}` in a remote block, of a loop that is outside of it"
        case ast.Nonlocal():
            yield node, "`nonlocal` in a remote block, which knows the names of engines only"
        case ast.With() if _is_block(node):
            yield node, "one remote block inside another"
    if isinstance(node, ast.For | ast.AsyncFor | ast.While):
        for child in node.body:
            yield from _misfits(child, True)
        for child in node.orelse:
            yield from _misfits(child, loop)
        return
    for each in ast.iter_child_nodes(node):
        yield from _misfits(each, loop)


def _is_block(block: ast.With) -> bool:
    return any(map(_makes_block, block.items)) or _calls_remote(block.body[0])


def _makes_block(item: ast.withitem) -> bool:
    return _called(item.context_expr) == "remote_block"


def _calls_remote(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and _called(statement.value) == "remote"


def _called(call: ast.expr) -> str:
    """The name of what is called, if it is a call."""
    function = call.func if isinstance(call, ast.Call) else None
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _is_code(constant: object) -> TypeGuard[CodeType]:
    return isinstance(constant, CodeType)


def _facts(code: CodeType) -> set[Any]:
    """The lines, names and constants of code, and of all code in it."""
    facts: set[Any] = {line for _, _, line in code.co_lines() if line}
    for names in (code.co_names, code.co_varnames, code.co_cellvars, code.co_freevars):
        facts.update(name for name in names if not name.startswith("__"))  # else it is mangled
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            facts |= _facts(constant)
        elif constant is not None:
            facts.add((type(constant), constant))
    if "__qualname__" in code.co_names:  # of a class, which says where it stands
        facts.discard((str, code.co_qualname))
    return facts


# --- its text ---------------------------------------------------------------------------------


def _cut(
    lines: Sequence[str], block: ast.With, statements: Sequence[ast.stmt]
) -> tuple[str, int, range]:
    """The text of these statements, its first line, and the lines of the statements."""
    first, here = statements[0], range(_first_line(statements[0]), _last_line(statements[-1]) + 1)
    indent = _indent(lines[_first_line(block.body[0]) - 1])
    before, begin = _split(lines[here.start - 1], first.col_offset)
    if first.lineno == here.start and before.strip():  # "client.remote(); a = 10"
        start, text = here.start + 1, [begin]
    else:
        start, text = _with_comments(lines, here.start, _header_end(block)), []
    kept = _inside_strings(statements)
    for number in range(start, here.stop):
        line = lines[number - 1]
        text.append(line if number in kept else _less(line, indent))
    code = "".join(text)
    return code if code.endswith("\n") else f"{code}\n", here.stop - len(text), here


def _with_comments(lines: Sequence[str], start: int, limit: int) -> int:
    """Where the comments begin that stand above line `start` and below line `limit`."""
    first = start
    while start - 1 > limit and _says_nothing(lines[start - 2]):
        start -= 1
    while start < first and not lines[start - 1].strip():
        start += 1
    return start


def _split(line: str, column: int) -> tuple[str, str]:
    """A line before and after a column of an AST, which counts bytes."""
    encoded = line.encode()
    return encoded[:column].decode(), encoded[column:].decode()


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _says_nothing(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _less(line: str, indent: str) -> str:
    """A line without the indentation of its block."""
    if line.startswith(indent):
        return line[len(indent) :]
    return line.lstrip(" \t\f")  # a comment, or inside brackets


def _inside_strings(statements: Sequence[ast.stmt]) -> set[int]:
    """The lines that begin inside a string."""
    inside: set[int] = set()
    for statement in statements:
        for node in ast.walk(statement):
            text = isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
            if text or type(node).__name__ in {"JoinedStr", "TemplateStr"}:
                assert isinstance(node, ast.expr)
                inside.update(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    return inside
