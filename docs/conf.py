"""Settings of the documentation site: `python -m sphinx -W docs OUT`.

Pages are plain Markdown that reads on a code host as well, so what only a site needs is added here: the order of
pages is in `_toc.yml`, and each page of `api/` gets the docstrings of the names in its table.
"""

import re
from importlib import import_module

from docutils.nodes import Element, SkipNode
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.writers.html5 import HTML5Translator

import torchgeo_cmr

project = 'torchgeo_cmr'
author = copyright = 'torchgeo_cmr contributors'
version = release = torchgeo_cmr.__version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx_copybutton',
    'sphinx_external_toc',
]
external_toc_path = '_toc.yml'

# The anchors that code hosts give to headings.
myst_heading_anchors = 4
myst_enable_extensions = ['dollarmath']
# Prompts are not part of a command.
copybutton_exclude = '.linenos, .gp, .go'

autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
napoleon_numpy_docstring = False
# A reference to one of our public names must lead somewhere. Those of other libraries are not looked up, because the
# site is built without a network; internal names have no page (tests/test_docs_references.py sees that they exist).
nitpicky = True
nitpick_ignore_regex = [
    (r'py:.*', r'(?!torchgeo_cmr\.).*'),
    (r'py:.*', r'torchgeo_cmr\.(?!metrics\.functional\.)\w+\.\w+.*\..*'),
]

html_theme = 'pydata_sphinx_theme'
html_title = 'torchgeo_cmr'
html_static_path = ['static']
html_css_files = ['site.css']
# Formulas are in the pages, so that they show without a network.
html_math_renderer = 'mathml'
html_show_sourcelink = False
# A section of one page has nothing to list.
html_sidebars = {'gallery': []}
html_theme_options = {
    'navigation_with_keys': False,
    'show_toc_level': 2,
    'secondary_sidebar_items': ['page-toc'],
}
toc_object_entries_show_parents = 'hide'


# Addresses in examples; and DOI servers, which send what is not a browser away.
linkcheck_ignore = [r'https://example\.(com|org)', r'https://doi\.org/']
linkcheck_timeout = 20


#: A row of the table of an API page: its name, and what is said of it.
ROW = re.compile(r'^\| `(\w+)` \| (.*) \|$', re.MULTILINE)


def add_docstrings(app: Sphinx, page: str, source: list[str]) -> None:
    """Link the names in the table of an API page, and append their docstrings.

    Args:
        app: The site.
        page: Page without its suffix.
        source: The text of the page, which is changed.
    """
    folder, _, module = page.rpartition('/')
    if folder != 'api' or module == 'index':
        return
    table, path = source[0], f'torchgeo_cmr.{module}'
    # autodoc takes classes and functions from another module, constants only from their own.
    constants = ''.join(
        f'\n.. py:data:: {path}.{name}\n\n   {words.replace("`", "``")}\n'
        for name, words in ROW.findall(table)
        if name.isupper() and not isinstance(getattr(import_module(path), name), type)
    )
    members = f'{constants}\n.. automodule:: {path}\n   :members:\n'
    apart = {
        name: names
        for name, _ in ROW.findall(table)
        if (names := inherited_names(getattr(import_module(path), name)))
    }
    if apart:
        members += f'   :exclude-members: {", ".join(apart)}\n'
    for name, names in apart.items():
        members += f'\n.. autoclass:: {path}.{name}\n   :members: {", ".join(names)}\n'
    linked = ROW.sub(rf'| {{py:obj}}`~{path}.\1` | \2 |', table)
    source[0] = f'{linked}\n```{{eval-rst}}{members}```\n'


def inherited_names(thing: object) -> list[str]:
    """Name what a class of ours has, if a part of it comes from a base of ours that has no page.

    Args:
        thing: What a page documents.

    Returns:
        The names that are documented, none if the class or its bases with a page have them all.
    """
    bases = thing.__mro__[1:] if isinstance(thing, type) else ()
    ours = [base for base in bases if base.__module__.startswith('torchgeo_cmr.')]
    public = [
        base
        for base in ours
        if base.__name__
        in import_module('.'.join(base.__module__.split('.')[:2])).__all__
    ]
    apart = [
        base for base in ours if not any(issubclass(other, base) for other in public)
    ]
    parts = [thing, *apart] if apart else []
    return [
        name
        for part in parts
        for name, value in vars(part).items()
        if not name.startswith('_') and getattr(value, '__doc__', None)
    ]


def prepare_docstring(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Keep napoleon from reading the words before a colon as a type: ours are annotated.

    Args:
        app: The site.
        what: Kind of *thing*.
        name: Its name.
        thing: What has the docstring.
        options: Of the directive.
        lines: The docstring, which is changed.
    """
    if what == 'module':
        # The page says it.
        lines.clear()
    elif what in ('attribute', 'property', 'data') and lines:
        lines[0] = f': {lines[0]}'
    for number, line in enumerate(lines[:-1]):
        if line.strip() in ('Returns:', 'Yields:'):
            after = lines[number + 1]
            space = len(after) - len(after.lstrip())
            lines[number + 1] = f'{after[:space]}: {after[space:]}'


def find_public(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Element
) -> Element | None:
    """Lead from the module where a name is defined to the subpackage that exports it.

    Args:
        app: The site.
        env: What Sphinx has read.
        node: The reference.
        text: What it shows.

    Returns:
        The link, or nothing if no subpackage exports the name.
    """
    words = node.get('reftarget', '').split('.')
    if node.get('refdomain') != 'py' or words[0] != 'torchgeo_cmr' or len(words) < 4:
        return None
    python = env.domains['py']
    for shelf in (words[1], 'metrics.functional'):
        for name in (words[-1], '.'.join(words[-2:])):
            target = f'torchgeo_cmr.{shelf}.{name}'
            found = python.resolve_any_xref(
                env, node['refdoc'], app.builder, target, node, text
            )
            if found:
                return found[0][1]
    return None


def write_formula(page: HTML5Translator, formula: Element) -> None:
    """Write a formula as MathML, with what docutils brings; it refuses what it cannot read.

    Args:
        page: Writer of the page.
        formula: Its LaTeX.

    Raises:
        SkipNode: Always: the formula is written.
    """
    block = formula.tagname == 'math_block'
    page.body.append(tex2mathml(formula.astext(), as_block=block))
    raise SkipNode


def setup(app: Sphinx) -> None:
    """Called by Sphinx.

    Args:
        app: The site.
    """
    app.connect('source-read', add_docstrings)
    # Before napoleon, which has the usual priority of 500.
    app.connect('autodoc-process-docstring', prepare_docstring, priority=400)
    app.connect('missing-reference', find_public)
    written = (write_formula, None)
    app.add_html_math_renderer(
        'mathml', inline_renderers=written, block_renderers=written
    )
