"""
Writes ``docs/reference.md`` from the signatures and docstrings of what `rrra_haystack` exports.

The sources are read, not imported: ``python docs/generate_reference.py``, or ``make reference``.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference.md"

# What every component of Haystack has is told in one table, without its parameters.
_OF_EVERY_COMPONENT = ("warm_up", "close", "to_dict", "from_dict")

_INTRODUCTION = """\
# Reference

Every parameter of what `rrra_haystack` exports. This page is generated from the docstrings, so it says what the \
code says. [Components](components.md) is the guide, with examples. To change this page, change a docstring and run \
`make reference`.
"""

_ROLE = re.compile(r":\w+:`([^`]+)`")
_LITERAL = re.compile(r"``([^`]+)``")
_EXAMPLE = re.compile(r"^(### Usage example\n+)?```python\n.*?^```$", re.DOTALL | re.MULTILINE)
_VARIADIC: dict[griffe.ParameterKind | None, str] = {
    griffe.ParameterKind.var_positional: "*",
    griffe.ParameterKind.var_keyword: "**",
}


def reference(root: Path = ROOT, package: str = "rrra_haystack") -> str:
    """
    The page, in Markdown.

    :param root: Folder of the package, and of the packages that it takes its exports from.
    :param package: The package whose exports are described.
    :raises ValueError: If an export, a public method or a parameter has no description.
    """
    loader = griffe.GriffeLoader(search_paths=[root], allow_inspection=False)
    face = loader.load(package)
    loader.resolve_aliases(implicit=True, external=True)
    classes = [_home(face[str(name)]) for name in face.exports or ()]
    return "\n".join([_INTRODUCTION, *(_class(one) for one in classes)])


def _home(named: griffe.Object | griffe.Alias) -> griffe.Object:
    """What an import or a subclass calls by a name of its own, where it is defined."""
    return named.final_target if isinstance(named, griffe.Alias) else named


def _class(exported: griffe.Object) -> str:
    members = {name: _home(member) for name, member in exported.all_members.items()}
    functions = {
        name: member
        for name, member in members.items()
        if isinstance(member, griffe.Function) and (name == "__init__" or not name.startswith("_"))
    }
    sections = _sections(exported)
    parts = [f"## {exported.name}", f"`{exported.canonical_path}`", *_texts(sections)]
    initialiser = functions.pop("__init__", None)
    if initialiser is not None:
        own = _sections(initialiser) if initialiser.docstring else sections
        parts += [f"`{_call(initialiser, exported.name)}`", *_rest(initialiser, own)]
    common = [functions.pop(name) for name in _OF_EVERY_COMPONENT if name in functions]
    for name, function in functions.items():
        own = _sections(function)
        parts += [f"### {exported.name}.{name}", f"`{_call(function, name)}`", *_texts(own)]
        blocking = functions.get(name.removesuffix("_async"), function)
        if blocking is not function and _call(blocking, name) == _call(function, name):
            parts += [f"Takes, returns and raises what `{blocking.name}` does."]
        else:
            parts += _rest(function, own)
    if common:
        rows = [f"| `{function.name}` | {_line(_texts(_sections(function))[0])} |" for function in common]
        parts += ["\n".join(["| as in every component | |", "|---|---|", *rows])]
    return "\n\n".join(parts) + "\n"


def _sections(described: griffe.Object) -> list[griffe.DocstringSection]:
    if described.docstring is None or not described.docstring.value:
        msg = f"{described.path} has no docstring."
        raise ValueError(msg)
    return described.docstring.parse("sphinx", warnings=False)


def _texts(sections: list[griffe.DocstringSection]) -> list[str]:
    texts = (section.value for section in sections if isinstance(section, griffe.DocstringSectionText))
    return [text for text in (_markdown(_EXAMPLE.sub("", text)).strip() for text in texts) if text]


def _rest(function: griffe.Function, sections: list[griffe.DocstringSection]) -> Iterator[str]:
    """What follows the text: parameters, what is returned, what is raised."""
    told = {
        parameter.name.lstrip("*"): parameter.description
        for section in sections
        if isinstance(section, griffe.DocstringSectionParameters)
        for parameter in section.value
    }
    rows = []
    for parameter in _parameters(function):
        if not told.get(parameter.name):
            msg = f"{function.path} says nothing of its parameter {parameter.name!r}."
            raise ValueError(msg)
        default = "" if parameter.kind in _VARIADIC else _code(_value(parameter.default, function))
        rows.append(
            f"| `{parameter.name}` | {_code(parameter.annotation)} | {default} | {_line(told[parameter.name])} |"
        )
    if rows:
        yield "\n".join(["| parameter | type | default | |", "|---|---|---|---|", *rows])
    for section in sections:
        if isinstance(section, griffe.DocstringSectionReturns):
            yield "Returns " + _sentence(_markdown(section.value[0].description))
        elif isinstance(section, griffe.DocstringSectionRaises):
            yield from (
                f"Raises `{raised.annotation}` {_sentence(_line(raised.description))}" for raised in section.value
            )


def _parameters(function: griffe.Function) -> list[griffe.Parameter]:
    return [parameter for parameter in function.parameters if parameter.name not in {"self", "cls"}]


def _call(function: griffe.Function, name: str) -> str:
    """How it is called: names alone, and a star before those that must be named."""
    said = []
    for parameter in _parameters(function):
        if parameter.kind is griffe.ParameterKind.keyword_only and "*" not in said:
            said.append("*")
        said.append(_VARIADIC.get(parameter.kind, "") + parameter.name)
    return f"{name}({', '.join(said)})"


def _value(default: str | griffe.Expr | None, function: griffe.Function) -> str | griffe.Expr | None:
    """A constant's value rather than its name."""
    if not isinstance(default, griffe.ExprName):
        return default
    try:
        named = function.modules_collection[default.canonical_path]
    except KeyError:
        return default
    return named.value if isinstance(named, griffe.Attribute) else default


def _code(expression: object) -> str:
    # A bar ends a cell, in code too.
    return f"`{expression}`".replace("|", r"\|") if expression is not None else ""


def _markdown(text: str) -> str:
    return _LITERAL.sub(r"`\1`", _ROLE.sub(r"`\1`", text)).replace(":\n- ", ":\n\n- ")


def _line(text: str) -> str:
    return " ".join(_markdown(text).replace("|", r"\|").split())


def _sentence(text: str) -> str:
    """With a small first letter, as it stands inside a sentence, unless it begins with a name."""
    first = text.split(maxsplit=1)[0] if text.split() else ""
    return text[:1].lower() + text[1:] if first.istitle() else text


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
