"""The ceilings of the house: sizes, names, broad excepts, thin assets."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.house.checkout import python_files, text_of

MODULE_LINES = 500
FUNCTION_LINES = 60
ASSET_BODY_LINES = 15
SHAPELESS_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}
BROAD = {"Exception", "BaseException"}
ASSET_DECORATORS = {
    "asset",
    "multi_asset",
    "graph_asset",
    "asset_check",
    "multi_asset_check",
    "observable_source_asset",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    """Every function of a module, nested ones too."""
    return (node for node in ast.walk(ast.parse(text_of(path))) if isinstance(node, Function))


def length(node: ast.stmt) -> int:
    """Lines from the first to the last of a statement; decorators are not counted."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def name_of(expression: ast.expr) -> str:
    """The last name of `name`, `package.name` or `name(...)`."""
    match expression:
        case ast.Call(func=function):
            return name_of(function)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def caught(handler: ast.ExceptHandler) -> set[str]:
    """The names that an `except` catches; a bare one catches BaseException."""
    if handler.type is None:
        return {"BaseException"}
    parts = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return {name_of(part) for part in parts}


def test_modules_stay_under_the_ceiling() -> None:
    """A module has at most 500 lines."""
    assert [] == [str(path) for path in python_files() if text_of(path).count("\n") > MODULE_LINES]


def test_functions_stay_under_the_ceiling() -> None:
    """A function has at most 60 lines."""
    too_long = [
        f"{path}:{node.lineno} {node.name} {length(node)}"
        for path in python_files()
        for node in functions(path)
        if length(node) > FUNCTION_LINES
    ]
    assert [] == too_long


def test_no_broad_except() -> None:
    """An `except` names what it expects: what nobody expected is a bug, and is seen."""
    broad = [
        f"{path}:{node.lineno}"
        for path in python_files()
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, ast.ExceptHandler) and caught(node) & BROAD
    ]
    assert [] == broad


def test_names_say_what_is_inside() -> None:
    """No module or package is called utils, helpers, common or manager."""
    assert [] == [str(path) for path in python_files() if SHAPELESS_NAMES & {path.stem, *path.parent.parts}]


def test_assets_are_thin() -> None:
    """The body of an asset or a check is one library call and its metadata: at most 15 lines."""
    thick = [
        f"{path}:{node.lineno} {node.name} {body_lines(node)}"
        for path in python_files()
        if path.parts[0] == "pipelines"
        for node in functions(path)
        if ASSET_DECORATORS & {name_of(decorator) for decorator in node.decorator_list}
        and body_lines(node) > ASSET_BODY_LINES
    ]
    assert [] == thick


def body_lines(node: Function) -> int:
    """Lines of a function below its signature and docstring."""
    statements = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or node.lineno) - statements[0].lineno + 1 if statements else 0
