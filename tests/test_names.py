"""Names of files and variables, one meaning each; functions of a length that can be read."""

import ast
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / 'torchgeo_cmr'

FILES = [p for p in PACKAGE.rglob('*.py') if not p.name.startswith('__')]

#: Names that say nothing, and participles that leave out what was done to what.
EMPTY = {
    *('utils', 'helpers', 'common', 'misc', 'core', 'base_utils', 'tools'),
    *('ahead', 'asked', 'early', 'given', 'held', 'judged', 'kept', 'numbered'),
    *('own', 'saved', 'spare', 'withheld'),
}

#: What names a variable no better than x. Words that a public keyword has stay.
VAGUE = {'told', 'said', 'own', 'some', 'here', 'there', 'one', 'more', 'asked'}
PUBLIC = {('make_record', 'asked')}

#: Lines of code of a function, without its docstring and comments.
LINES = 60

#: Files of one folder play one role; a shelf of siblings, such as metrics, may be longer.
LONGEST = 15
SHELVES = {'cli', 'evaluate', 'metrics'}


def test_no_name_stands_twice() -> None:
    twice = [n for n, count in Counter(p.stem for p in FILES).items() if count > 1]
    assert not twice


def test_names_say_what_they_hold() -> None:
    assert not EMPTY & {p.stem for p in FILES}


def test_folders_are_short() -> None:
    counts = Counter(p.parent.relative_to(PACKAGE).as_posix() for p in FILES)
    long = {name for name, count in counts.items() if count > LONGEST}
    assert long <= SHELVES


def test_variables_are_named() -> None:
    vague = []
    for path in FILES:
        for scope in ast.walk(ast.parse(path.read_text())):
            name = getattr(scope, 'name', '')
            for node in ast.walk(scope) if isinstance(scope, ast.FunctionDef) else ():
                if isinstance(node, ast.arg):
                    word = node.arg
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    word = node.id
                else:
                    continue
                if word in VAGUE and (name, word) not in PUBLIC:
                    vague.append(f'{path.name}:{node.lineno}: {word} in {name}')
    assert not vague


def test_functions_are_short() -> None:
    long = []
    for path in FILES:
        lines = path.read_text().split('\n')
        for node in ast.walk(ast.parse('\n'.join(lines))):
            if not isinstance(node, ast.FunctionDef):
                continue
            code = set(range(node.lineno, (node.end_lineno or 0) + 1))
            if ast.get_docstring(node) is not None:
                docstring = node.body[0]
                code -= set(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
            written = (lines[i - 1].strip() for i in code)
            count = sum(bool(line) and not line.startswith('#') for line in written)
            if count > LINES:
                long.append(f'{path.name}:{node.name}: {count} lines')
    assert not long
