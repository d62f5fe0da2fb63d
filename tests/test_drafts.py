"""Drafts name their owner: those of the dead are swept, names are given all at once or not at all."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchgeo_cmr import drafts
from torchgeo_cmr.drafts import (
    Draft,
    check_folder,
    check_on_disk,
    disk_faults,
    draft_file,
    draft_folder,
    new_draft,
    publish,
    short,
    stamp,
    sweep,
    sweep_outputs,
)
from torchgeo_cmr.errors import OutputExistsError, QueryError

LINUX = pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')


def dead_process() -> int:
    child = subprocess.Popen([sys.executable, '-c', ''])
    child.wait()
    return child.pid


def word(**changes: object) -> str:
    """Give a stamp of this process with other facts."""
    _, place, process, begun, count = stamp().split('-')
    facts = {'place': place, 'process': process, 'begun': begun, **changes}
    return f'tmp-{facts["place"]}-{facts["process"]}-{facts["begun"]}-{count}'


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@LINUX
def test_who_is_gone(tmp_path: Path) -> None:
    """A number of a process means something in one namespace only, and until it is given again."""
    gone = dead_process()
    dead = {
        'of a process that ended': word(process=gone),
        'of one whose number was given again': word(
            begun=int(stamp().split('-')[3]) - 1
        ),
        'of an earlier version': f'tmp-{gone}',
        'replaced by an earlier version': f'old-{gone}',
    }
    live = {
        'of this process': stamp(),
        'of another container, whose numbers mean others': word(
            place='other', process=gone
        ),
        'of an earlier version that runs': f'tmp-{os.getppid()}',
    }
    for stamps in (dead, live):
        for owner in stamps.values():
            (tmp_path / f'.x.{owner}.gpkg').touch()
            (tmp_path / f'.x.{owner}.gpkg-journal').touch()
            (tmp_path / f'.x.{owner}.tif.ovr.tmp').touch()
            (tmp_path / f'.x.{owner}').mkdir()
            (tmp_path / f'.x.{owner}' / 'part').touch()
    others = [
        f'.y.{word(process=gone)}.gpkg',
        'x.gpkg',
        '.x.gpkg',
        f'x.{word(process=gone)}',
    ]
    for name in others:
        (tmp_path / name).touch()
    sweep(tmp_path, 'x')
    kept = [n for owner in live.values() for n in names(tmp_path) if owner in n]
    assert sorted({*kept, *others}) == names(tmp_path)
    assert len(kept) == 4 * len(live)
    sweep(tmp_path)
    assert others[0] not in names(tmp_path)


@LINUX
def test_a_killed_process_that_nobody_waited_for_is_gone(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)
    begun = drafts._begun(child.pid)
    file = tmp_path / f'.x.{word(process=child.pid, begun=begun)}'
    file.touch()
    sweep(tmp_path, 'x')
    assert file.exists()
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    sweep(tmp_path, 'x')
    child.communicate()
    assert not file.exists()


def test_of_other_machines_what_is_old_goes(tmp_path: Path) -> None:
    young, old = (tmp_path / f'.x.{word(place=p)}' for p in ('young', 'old'))
    busy = tmp_path / f'.x.{word(place="busy")}'
    for folder in (young, old, busy):
        folder.mkdir()
        (folder / 'part').touch()
    past = (time.time() - 1e6, time.time() - 1e6)
    for path in (old / 'part', old, busy):
        os.utime(path, past)
    sweep(tmp_path, 'x')
    # One that still writes into its folder is not gone.
    assert names(tmp_path) == sorted([young.name, busy.name])


def written(folder: Path, **content: str) -> list[Draft]:
    made = []
    for name, text in content.items():
        target = folder / f'{name}.txt'
        draft = Draft(drafts.draft_file(target), target, target.exists())
        draft.path.write_text(text)
        made.append(draft)
    return made


@pytest.mark.parametrize('overwrite', [True, False])
@pytest.mark.parametrize('nth', [1, 2, 3])
def test_all_names_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool, nth: int
) -> None:
    texts = dict.fromkeys('abc', 'old') if overwrite else {}
    for name, text in texts.items():
        (tmp_path / f'{name}.txt').write_text(text)
    made = written(tmp_path, a='new', b='new', c='new')
    name, count = ('replace', 0) if overwrite else ('link', 0)
    whole: Callable[..., Any] = getattr(os, name)

    def failing(source: Any, target: Any, **options: Any) -> None:
        nonlocal count
        if not Path(target).name.startswith('.'):
            count += 1
            if count == nth:
                raise OSError(errno.EIO, 'Input/output error')
        whole(source, target, **options)

    monkeypatch.setattr(os, name, failing)
    if overwrite:
        with pytest.raises(OSError, match='nothing was changed there'):
            publish(made)
    else:  # what cannot be linked is renamed
        publish(made)
    wanted = 'old' if overwrite else 'new'
    assert [d.target.read_text() for d in made] == [wanted] * 3
    assert names(tmp_path) == ['a.txt', 'b.txt', 'c.txt']


def test_a_name_that_was_taken_meanwhile(tmp_path: Path) -> None:
    made = written(tmp_path, a='new', b='new', c='new')
    (tmp_path / 'c.txt').write_text('of another')
    with pytest.raises(OutputExistsError, match=r'c\.txt is there already'):
        publish(made)
    assert names(tmp_path) == ['c.txt']
    assert (tmp_path / 'c.txt').read_text() == 'of another'


@LINUX
@pytest.mark.parametrize('linked', [0, 1, 2, 3])
@pytest.mark.parametrize('edited', [True, False])
def test_half_an_output_of_a_killed_process_is_taken_back(
    tmp_path: Path, linked: int, edited: bool
) -> None:
    owner = word(process=dead_process())
    targets = [tmp_path / n for n in ('x.gpkg', 'x.qgz', 'x.json')]
    for i, target in enumerate(targets):
        draft = target.with_name(f'.x.{owner}{i}{target.suffix}')
        draft.write_text('new')
        os.utime(draft, (1e9 + i, 1e9 + i))
        if i < linked:
            os.link(draft, target)
    if edited and linked:
        targets[0].write_text('edited since')
    sweep_outputs(targets)
    if linked == 3:  # all have their names
        assert names(tmp_path) == sorted(t.name for t in targets)
    else:
        assert names(tmp_path) == (['x.gpkg'] if edited and linked else [])


def test_a_draft_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / 'deep' / 'x.npz'
    with new_draft(target, overwrite=False) as draft:
        draft.write_text('whole')
        assert draft.suffix == '.npz'
        assert not target.exists()
    assert names(target.parent) == ['x.npz']
    with pytest.raises(OutputExistsError), new_draft(target, overwrite=False):
        pass
    assert draft_folder(target).name.startswith('.x.npz.tmp-')


@pytest.mark.parametrize(
    'error',
    [
        OSError(errno.ENOSPC, 'No space left on device'),
        OSError(errno.EROFS, 'Read-only file system'),
        OSError('320000 requested and 51168 written'),  # as NumPy says it
    ],
)
def test_faults_of_the_disk_are_one_sentence(tmp_path: Path, error: OSError) -> None:
    with (
        pytest.raises(
            OSError, match=r'x could not be written, and nothing was changed'
        ),
        disk_faults(tmp_path / 'x'),
    ):
        raise error


def test_torch_on_a_full_disk(tmp_path: Path) -> None:
    """It raises no OSError, and speaks of positions."""
    for words in (
        '[enforce fail at inline_container.cc:672] . unexpected pos 128 vs 0',
        'basic_ios::clear: iostream error',
    ):
        with (
            pytest.raises(
                OSError, match=r'x\.ckpt could not be written.*not all of it was taken'
            ),
            disk_faults(tmp_path / '.x.tmp-ab-12-34-0.ckpt'),
        ):
            raise RuntimeError(words)
    with pytest.raises(RuntimeError), disk_faults(tmp_path / 'x.ckpt'):
        raise RuntimeError('shapes differ')


def test_a_folder_that_went_is_one_sentence(tmp_path: Path) -> None:
    target = tmp_path / 'gone' / 'x'
    with (
        pytest.raises(OSError, match=r'could not be written.*make room'),
        disk_faults(target),
    ):
        target.write_text('text')
    with pytest.raises(FileNotFoundError), disk_faults(tmp_path / 'x'):
        (tmp_path / 'input').read_text()  # of what is read, not written


def test_an_empty_name_is_not_the_current_folder() -> None:
    with pytest.raises(QueryError, match='the name is empty'):
        check_on_disk('')


@pytest.mark.parametrize(
    'word',
    [
        's3://bucket/a',
        'https://me:secret@example.com/a?key=secret',
        'S3:/bucket/a',
        'gs://bucket/a',
        'file:///tmp/a',
        'abfss://box@account/a',
        '/vsis3/bucket/a',
    ],
)
def test_results_are_not_written_to_addresses(word: str) -> None:
    with pytest.raises(
        QueryError, match=r'results are (written to a disk only|not wri)'
    ) as e:
        check_on_disk(word)
    assert 'secret' not in str(e.value)
    assert word.startswith('/vsi') or '://' in str(e.value)


@pytest.mark.parametrize('scheme', ['postgresql', 'Postgres', 'postgresql+psycopg2'])
def test_a_database_is_not_a_folder(scheme: str) -> None:
    with pytest.raises(QueryError, match=r'is a database, .* torchgeo-cmr load') as e:
        check_on_disk(Path(f'{scheme}://gis:secret@server/gis?password=secret'))
    assert 'secret' not in str(e.value)


@pytest.mark.parametrize(
    'word', ['C:/data/a', 'a', 'postgresql/a', '/tmp/a', 'old:/a', 'x/s3:/a']
)
def test_paths_are_not_addresses(word: str) -> None:
    check_on_disk(word)


@pytest.mark.parametrize('name', ['x' * 251, 'é' * 120, 'a;b', 'a\\b', 'hits'])
def test_a_draft_of_any_name_is_written_and_swept(tmp_path: Path, name: str) -> None:
    target = tmp_path / f'{name}.fgb'
    left = draft_file(target)
    assert left.suffix == '.fgb'
    assert len(left.name.encode()) < 230
    assert not set(left.name) & set(';\\')
    left = left.with_name(
        left.name.replace(
            stamp().rpartition('-')[0], word(process=dead_process()).rpartition('-')[0]
        )
    )
    left.touch()
    with new_draft(target, overwrite=False) as draft:
        assert names(tmp_path) == []
        draft.touch()
    assert names(tmp_path) == [target.name]


def test_long_names_that_differ_at_the_end_have_drafts_of_their_own() -> None:
    assert short('x' * 240 + 'a') != short('x' * 240 + 'b')
    assert short('a;b') != short('a_b') == 'a_b'


@pytest.mark.skipif(os.name == 'nt', reason='links need a right there')
def test_a_folder_that_is_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'a').symlink_to('b')
    (tmp_path / 'b').symlink_to('a')
    with pytest.raises(QueryError, match=r'a is a link that leads to itself: remove'):
        check_folder(tmp_path / 'a')
    (tmp_path / 'c').symlink_to('d')
    check_folder(tmp_path / 'c')  # the folder is made behind it
