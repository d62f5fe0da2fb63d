"""What a release is made of: jobs that name what is there, a citation of this version."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import torchgeo_cmr

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / '.github'
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
WORKFLOWS = sorted(GITHUB.glob('workflows/*.yml'))


def jobs(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())['jobs']


def commands(path: Path) -> list[str]:
    return [
        step['run']
        for job in jobs(path).values()
        for step in job['steps']
        if 'run' in step
    ]


def test_there_are_workflows() -> None:
    assert {p.name for p in WORKFLOWS} == {'tests.yml', 'release.yml'}


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda p: p.name)
def test_jobs_install_extras_that_exist(path: Path) -> None:
    found = re.findall(r'\.\[([\w,]+)\]', '\n'.join(commands(path)))
    for names in found:
        assert set(names.split(',')) <= {*PROJECT['optional-dependencies']}


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda p: p.name)
def test_jobs_may_do_little_and_keep_no_password(path: Path) -> None:
    text = path.read_text()
    whole = yaml.safe_load(text)
    assert whole['permissions'] == {'contents': 'read'}
    assert 'secrets.' not in text
    for job in whole['jobs'].values():
        assert job.get('timeout-minutes') or job.get('environment')
        for step in job['steps']:
            if 'checkout' in step.get('uses', ''):
                assert step['with']['persist-credentials'] is False
            # What a stranger may choose (a title, the name of a branch) is not pasted into a shell.
            assert not re.search(r'\$\{\{', step.get('run', ''))


def test_markers_that_jobs_leave_out_exist() -> None:
    options = tomllib.loads((ROOT / 'pyproject.toml').read_text())['tool']['pytest']
    known = {m.partition(':')[0] for m in options['ini_options']['markers']}
    left_out = {
        name
        for path in WORKFLOWS
        for command in commands(path)
        for name in re.findall(r'not (\w+)', command)
    }
    assert left_out
    assert left_out <= known


def test_every_version_of_python_that_is_promised_has_a_job() -> None:
    promised = {
        c.rpartition(' ')[2]
        for c in PROJECT['classifiers']
        if re.fullmatch(r'Programming Language :: Python :: 3\.\d+', c)
    }
    tested = jobs(GITHUB / 'workflows' / 'tests.yml')['suite']['strategy']['matrix']
    assert set(tested['python']) == promised


def test_the_citation_is_of_this_version_and_these_papers() -> None:
    cited = yaml.safe_load((GITHUB / 'CITATION.cff').read_text())
    assert cited['version'] == torchgeo_cmr.__version__
    assert cited['license'] == PROJECT['license']
    readme = (ROOT / 'README.md').read_text()
    for paper in cited['references']:
        (number,) = (i['value'].removeprefix('arXiv:') for i in paper['identifiers'])
        assert f'https://arxiv.org/abs/{number}' in readme


def test_forms_ask_for_what_helps() -> None:
    for path in GITHUB.glob('ISSUE_TEMPLATE/*.yml'):
        form = yaml.safe_load(path.read_text())
        if path.name == 'config.yml':
            continue
        assert form['name']
        assert form['description']
        assert any(part.get('validations', {}).get('required') for part in form['body'])
