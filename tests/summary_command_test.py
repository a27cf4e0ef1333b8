"""`prm summary`, and what it does to `prm score`, `forget` and `export`."""

import io
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from prm_jax import kept_summaries, main, summary_command, summary_model
from tests.rewards import tiny_reader


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  folder = tmp_path_factory.mktemp('reader') / 'saved'
  summary_model.save_language_model(
    folder, tiny_reader.model(), wording=tiny_reader.WORDING
  )
  return folder


@pytest.fixture
def workdir(saved, tmp_path):
  """A reader, and two people of whom the model has written the same."""
  folder = tmp_path / 'run'
  shutil.copytree(saved, folder)
  people = summary_model.people(folder)
  people.begin(['ann', 'bob']).write({'ann': 'long', 'bob': 'long'})
  return folder


@pytest.fixture
def prm(workdir, capsys):
  """Runs `prm summary`; returns its exit status, output and errors."""

  def run(action, *more, user='ann'):
    command = ['summary', action, f'--workdir={workdir}', f'--user={user}']
    status = main.run([*command, *more])
    return status, *capsys.readouterr()

  return run


def test_an_edit_changes_the_scores_at_once_until_it_is_released(
  prm, workdir, tmp_path
):
  rows = [{'prompt': 'ok', 'response': r, 'id': r} for r in ('long', 'short')]
  data, out = tmp_path / 'data.jsonl', tmp_path / 'out.jsonl'
  data.write_text(''.join(json.dumps(row) + '\n' for row in rows))

  def scores(*user):
    command = ['score', f'--workdir={workdir}', f'--data={data}', *user]
    assert main.run([*command, f'--output={out}']) == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row['id'] for row in found] == ['long', 'short']
    return [row['score'] for row in found]

  before = scores('--user=ann')
  nobody = scores()
  assert before == scores('--user=bob') != nobody
  assert prm('edit', '--text=short')[0] == 0
  edited = scores('--user=ann')
  assert edited != before
  assert scores('--user=bob') == before
  # A refit to what the model would now say.
  people = summary_model.people(workdir)
  people.begin(['ann', 'bob']).write({'ann': 'tables', 'bob': 'tables'})
  assert scores('--user=ann') == edited
  assert prm('release')[0] == 0
  assert scores('--user=ann') not in (edited, before, nobody)
  assert prm('edit', '--empty')[0] == 0
  assert scores('--user=ann') == nobody
  # What a reader of summaries has not.
  command = ['score', f'--workdir={workdir}', f'--data={data}']
  assert main.run([*command, '--bound=lower_bound']) == 2
  assert main.run([*command, '--user=typo']) == 2


def test_what_is_shown_can_be_changed_and_given_back(prm, tmp_path):
  status, words, about = prm('show')
  assert (status, words) == (0, 'long\n')
  assert 'ann, version 2: by the model, 20' in about
  path = tmp_path / 'ann.txt'
  path.write_bytes(b'\xef\xbb\xbfshort\r\n')  # by another system
  status, _, about = prm('edit', f'--file={path}', '--version=2')
  assert status == 0
  assert 'version 3: by a person' in about
  assert prm('show')[1] == 'short\n'
  assert prm('show', '--model')[1] == 'long\n'
  # Two have looked at the same one: the second is told, and has lost nothing.
  status, _, error = prm('edit', '--text=tables', '--version=2')
  assert (status, 'has changed since version 2' in error) == (2, True)
  status, _, error = prm('edit', '--text=tables')
  assert (status, 'that a person edited' in error) == (2, True)
  assert prm('release', '--version=2')[0] == 2
  assert prm('show')[1] == 'short\n'
  assert prm('edit', '--text=tables', '--version=3')[0] == 0
  assert 'version 5: by the model' in prm('release')[2]
  status, _, error = prm('release')
  assert (status, 'edited nothing' in error) == (2, True)
  assert 'written about' not in about
  assert "written about 'new' before" in prm('edit', '--text=ok', user='new')[2]


def test_words_that_are_not_read_are_told_or_refused(prm, monkeypatch):
  status, _, about = prm('edit', '--text=短い 返事 short')
  assert status == 0
  assert 'does not know 2 of its 3 tokens' in about
  assert prm('show')[1] == '短い 返事 short\n'
  for words, why in (
    ('', 'summary is empty'),
    (' \n', 'summary is empty'),
    ('short ' * 5, '5 tokens, and the reward model reads 4'),
    ('x' * 100_000, '100,000 characters'),
    ('a\x1b[2J', 'U+001B'),
  ):
    status, _, error = prm('edit', f'--text={words}', '--version=3')
    assert (status, why in error) == (2, True)
  monkeypatch.setattr(
    'sys.stdin', SimpleNamespace(buffer=io.BytesIO(b'\xff\xfe'))
  )
  status, _, error = prm('edit', '--file=-', '--version=3')
  assert (status, 'the input is no UTF-8' in error) == (2, True)
  assert prm('show')[1] == '短い 返事 short\n'


@pytest.mark.parametrize(
  ('command', 'why'),
  [
    (('show', '--text=x'), '--text: show takes none'),
    (('edit', '--model'), '--model: edit takes none'),
    (('show', '--user=bob'), 'takes one --user'),
    (('edit', '--text=x', '--empty'), 'give one of'),
    (('edit', '--file=nowhere.txt'), 'nowhere.txt'),
    (('edit',), 'an editor in EDITOR'),
  ],
)
def test_what_cannot_be_done_is_told_in_a_line(prm, monkeypatch, command, why):
  monkeypatch.delenv('EDITOR', raising=False)
  monkeypatch.delenv('VISUAL', raising=False)
  status, _, error = prm(*command)
  assert (status, why in error) == (2, True)


def test_words_from_an_editor_are_not_lost(prm, workdir, monkeypatch, tmp_path):
  monkeypatch.setenv('EDITOR', 'my editor')
  monkeypatch.setattr('tempfile.tempdir', str(tmp_path))

  def types(words, meanwhile=None, status=0):
    def opened(command, check):
      *editor, path = command
      assert editor == ['my', 'editor']
      if meanwhile is not None:
        kept_summaries.Folder(workdir).edit('ann', meanwhile)
      with open(path, 'r+') as file:
        assert file.read() == 'long\n'
        file.seek(0)
        file.write(words)
        file.truncate()
      return SimpleNamespace(returncode=status)

    monkeypatch.setattr(summary_command.subprocess, 'run', opened)

  types('long\n')
  assert 'nothing is changed' in prm('edit')[2]
  types('short', status=1)
  assert prm('edit')[0] == 2
  assert not list(tmp_path.glob('summary-*'))
  types('short', meanwhile='tables')
  status, _, error = prm('edit')
  assert (status, 'has changed since version 2' in error) == (2, True)
  (kept,) = tmp_path.glob('summary-*')
  assert str(kept) in error
  assert kept.read_text() == 'short'
  prm('release')
  types('short')
  assert prm('edit')[0] == 0
  assert prm('show')[1] == 'short\n'


@pytest.mark.parametrize('command', [('summary', 'forget'), ('forget',)])
def test_forgetting_is_of_all_or_nobody(workdir, capsys, command):
  call = [*command, f'--workdir={workdir}', '--user=ann']
  assert main.run([*call, '--user=typo']) == 2
  assert "nothing is written about 'typo'" in capsys.readouterr().err
  people = summary_model.people(workdir)
  assert people.users() == ['ann', 'bob']
  assert main.run([*call, '--user=bob']) == 0
  assert people.users() == people.begin(['ann', 'bob']).users == []
  assert main.run(call) == 2


def test_an_export_knows_nobody(workdir, tmp_path, capsys):
  out = tmp_path / 'out'
  command = ['export', f'--workdir={workdir}', f'--output={out}']
  assert main.run(command) == 0
  assert not (out / kept_summaries.NAME).exists()
  assert summary_model.people(out).users() == []
  assert main.run(command) == 2
  assert 'not empty' in capsys.readouterr().err


def test_only_who_is_a_text_has_a_summary(tmp_path, capsys):
  command = ['summary', 'show', '--user=ann', f'--workdir={tmp_path}']
  assert main.run(command) == 2
  assert 'no reward model that reads summaries' in capsys.readouterr().err
  (tmp_path / 'metadata.json').write_text('{')
  assert main.run(command) == 2
  assert 'metadata.json is not JSON' in capsys.readouterr().err


def test_parts_that_do_not_fit_are_not_saved(tmp_path):
  node = {'kind': 'linear'}
  trunk = {'config': vars(tiny_reader.CONFIG), 'trains': 'frozen'}
  words = tiny_reader.tokenizer()
  with pytest.raises(ValueError, match='reads no text'):
    summary_model.save(tmp_path / 'a', node, {}, words)
  params = {'weight': np.zeros(7)}
  params['backbone'] = tiny_reader.model().params
  with pytest.raises(ValueError, match=r"\['weight'\] is \(7,\), and not \(8,"):
    summary_model.save(tmp_path / 'a', node, params, words, backbone=trunk)
  assert not (tmp_path / 'a').exists()
