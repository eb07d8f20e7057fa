"""What a program imports, found out without running the program.

Rule: a program that says ``if __name__ == "__main__"`` may be imported: its module is executed under another
name. Of any other only the import statements are, and what finds the modules (``sys.path``), as they stand at
the top level, in branches and ``try`` statements too; functions, classes and everything else are left out.
"""

from __future__ import annotations

import ast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Final

#: Under this name the program's module is executed.
NAME: Final = "__graftlet_doctor__"

#: What may be called to find out where modules are, and what may be asked about the platform.
_HARMLESS: Final = (
    *("os.path.", "os.getcwd", "os.environ.get", "os.getenv", "os.fspath"),
    *("pathlib.", "Path", "sys.path.", "platform.", "str"),
)
#: Methods of a path.
_OF_PATHS: Final = ("resolve", "absolute", "joinpath", "as_posix", "with_name")


def importing_code(source: bytes | str, file: str) -> tuple[CodeType, bool]:
    """The code to execute, and whether it is all of the program's.

    Raises:
        SyntaxError: ``source`` is no Python.
    """
    tree = ast.parse(source, file)
    whole = any(isinstance(each, ast.If) and _is_guard(each.test) for each in tree.body)
    if not whole:
        tree.body = _Filter().imports(tree.body)
    return compile(tree, file, "exec", dont_inherit=True), whole


def _is_guard(test: ast.expr) -> bool:
    if not (isinstance(test, ast.Compare) and len(test.comparators) == 1):
        return False
    sides = (test.left, test.comparators[0])
    return any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides) and any(
        isinstance(side, ast.Constant) and side.value == "__main__" for side in sides
    )


class _Filter:
    """Picks the statements that import, or say from where."""

    def __init__(self) -> None:
        #: The names that have a value when these statements alone are executed.
        self._known = {"__file__", "__name__", "str"}

    def imports(self, body: list[ast.stmt]) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for each in body:
            if isinstance(each, (ast.Import, ast.ImportFrom)):
                self._known.update(
                    alias.asname or alias.name.partition(".")[0] for alias in each.names
                )
                found.append(each)
            elif self._says_where(each):
                found.append(each)
            elif isinstance(each, ast.If):
                found += self._in_if(each)
            elif isinstance(each, ast.Try):
                found += self._in_try(each)
            elif isinstance(each, (ast.With, ast.For, ast.While)):
                found += self.imports(each.body)  # once, whatever it is for
        return found

    def _in_if(self, statement: ast.If) -> list[ast.stmt]:
        can_tell = self._only_reads(statement.test)
        statement.body = self.imports(statement.body)
        statement.orelse = self.imports(statement.orelse)
        if not can_tell:
            return [*statement.body, *statement.orelse]
        if not (statement.body or statement.orelse):
            return []
        statement.body = statement.body or [ast.copy_location(ast.Pass(), statement)]
        return [statement]

    def _in_try(self, statement: ast.Try) -> list[ast.stmt]:
        statement.body = self.imports(statement.body)
        statement.orelse = self.imports(statement.orelse)
        statement.finalbody = self.imports(statement.finalbody)
        for handler in statement.handlers:
            handler.body = self.imports(handler.body) or [ast.copy_location(ast.Pass(), handler)]
        if not statement.body:
            return [*statement.orelse, *statement.finalbody]
        if not (statement.handlers or statement.finalbody):
            return [*statement.body, *statement.orelse]
        return [statement]

    def _says_where(self, statement: ast.stmt) -> bool:
        """Whether it changes ``sys.path``, or is an assignment that may be used for that."""
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            called = ast.unparse(statement.value.func)
            return called.startswith("sys.path.") and self._only_reads(statement.value)
        if isinstance(statement, ast.Assign) and self._only_reads(statement.value):
            targets = statement.targets
            if all(isinstance(each, ast.Name) for each in targets):
                self._known.update(each.id for each in targets if isinstance(each, ast.Name))
                return True
            return all(ast.unparse(each).startswith("sys.path") for each in targets)
        return False

    def _only_reads(self, expression: ast.expr) -> bool:
        """Whether evaluating it changes nothing, and can't fail for want of a name."""
        for node in ast.walk(expression):
            if isinstance(node, ast.Call):
                function = node.func
                if not (
                    ast.unparse(function).startswith(_HARMLESS)
                    or (isinstance(function, ast.Attribute) and function.attr in _OF_PATHS)
                ):
                    return False
            elif isinstance(node, ast.Name):
                if node.id not in self._known:
                    return False
            elif isinstance(node, (ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)):
                return False
        return True
