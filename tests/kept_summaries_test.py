"""Records of people on disk: edits, refits, forgetting, two processes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prm_jax.kept_summaries import ConflictError, Folder, Scorer
from prm_jax.users.records import Measured, SummaryError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path):
  return Folder(tmp_path)


def content(folder):
  """Everything on disk."""
  return b''.join(p.read_bytes() for p in folder.path.iterdir() if p.is_file())


class Counts:
  """Scores a response by how many of the summary's words it has."""

  def measure(self, words):
    return Measured(len(words.split()), 100)

  def score(self, words, prompts, responses):
    assert len(prompts) == len(responses)
    return np.array([sum(w in r for w in words.split()) for r in responses])


def test_an_edit_is_scored_at_once_and_outlives_refits_and_answers(folder):
  draft = folder.begin(['ann', 'bob'])
  assert draft.write({'ann': 'long', 'bob': 'long'}).written == ('ann', 'bob')
  scorer = Scorer(folder, Counts())
  two = ['a long one', 'a short one']
  assert scorer.score('ann', '?', two).tolist() == [1, 0]
  Folder(folder.path.parent).edit('ann', 'short')  # in another process, say
  assert scorer.score('ann', '?', two).tolist() == [0, 1]
  # New answers, and a refit: what is read of ann stays, bob's changes.
  found = draft.write({'ann': 'one', 'bob': 'one'})
  assert (found.written, found.held, found.gone) == (('bob',), ('ann',), ())
  again = folder.begin(['ann', 'bob']).write({'ann': 'a'})
  assert again.held == ('ann',)
  assert scorer.score('ann', '?', two).tolist() == [0, 1]
  assert scorer.score('bob', '?', two).tolist() == [1, 1]
  # Released: what the model wrote last.
  assert folder.release('ann').words == 'a'
  assert scorer.score('ann', '?', two).tolist() == [1, 1]
  assert folder.begin(['ann']).write({'ann': 'long'}).written == ('ann',)
  assert scorer.score('ann', '?', two).tolist() == [1, 0]
  assert scorer.score(None, '?', two).tolist() == [0, 0]
  with pytest.raises(KeyError, match="nothing is written about 'typo'"):
    scorer.score('typo', '?', two)


def test_people_of_one_history_have_records_of_their_own(folder):
  folder.begin(['ann', 'bob']).write({'ann': 'same', 'bob': 'same'})
  folder.edit('ann', 'mine')
  assert folder.read('bob').words == 'same'
  folder.forget('ann')
  assert folder.users() == ['bob']
  assert folder.read('bob').words == 'same'


def test_who_is_forgotten_in_training_does_not_come_back(folder):
  draft = folder.begin(['ann', 'bob'])
  folder.forget('ann')
  found = draft.write({'ann': 'a secret', 'bob': 'none'})
  assert (found.written, found.gone) == (('bob',), ('ann',))
  # Nor where the training is killed and resumed, or another one is begun.
  resumed = folder.begin(['ann', 'bob'])
  assert resumed.users == ['bob']
  assert resumed.write({'ann': 'a secret'}).gone == ('ann',)
  assert folder.users() == ['bob']
  assert b'secret' not in content(folder)
  assert b'ann' not in content(folder)
  # They come back themselves; what was learned before does not.
  folder.edit('ann', 'here I am')
  assert draft.write({'ann': 'a secret'}).gone == ('ann',)
  assert folder.release('ann').words == ''
  assert folder.begin(['ann']).write({'ann': 'new'}).written == ('ann',)


def test_forgetting_is_of_all_or_nobody(folder):
  folder.begin(['ann', 'bob'])
  with pytest.raises(KeyError, match="nothing is written about 'typo', 'x'"):
    folder.forget('ann', 'typo', 'x')
  assert folder.users() == ['ann', 'bob']
  folder.forget('bob', 'typo', strangers=True)
  assert folder.users() == ['ann']
  assert folder.begin(['typo', 'new']).users == ['new']


def test_a_killed_process_leaves_nobody_half_forgotten(folder, monkeypatch):
  folder.begin(['ann', 'bob']).write({'ann': 'secret 1', 'bob': 'secret 2'})
  (path,) = (p for p in folder.path.glob('*.json') if 'ann' in p.read_text())
  Path(f'{path}.99.part').write_text('secret 3')  # killed while it wrote
  monkeypatch.setattr(Folder, '_delete', lambda *_: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    folder.forget('ann', 'bob')
  monkeypatch.undo()
  assert folder.users() == []
  with pytest.raises(KeyError):
    folder.read('ann')
  folder.forget('ann')  # again, to be through
  folder.begin(['bob'])
  assert b'secret' not in content(folder)


def test_all_is_checked_before_anything_is_written(tmp_path):
  folder = Folder(tmp_path, measure=Counts().measure)
  draft = folder.begin(['ann', 'bob'])
  with pytest.raises(SummaryError, match="'bob': the summary has 101 tokens"):
    draft.write({'ann': 'fits', 'bob': 'x ' * 101})
  assert folder.read('ann').present is None
  for words, why in (('x ' * 101, '101 tokens'), ('x' * 100_000, '100,000')):
    with pytest.raises(SummaryError, match=why):
      folder.edit('ann', words)
  assert not folder.read('ann').locked


def test_an_edit_undoes_nothing_that_it_has_not_seen(folder):
  folder.begin(['ann']).write({'ann': 'model'})
  seen = folder.read('ann').version
  folder.edit('ann', 'first', version=seen)
  with pytest.raises(
    ConflictError, match=r'since version 2: it is 3 .* person'
  ):
    folder.edit('ann', 'second', version=seen)
  with pytest.raises(ConflictError, match=r'seen it \(version 3\)'):
    folder.edit('ann', 'second')
  with pytest.raises(ConflictError, match='it is 3 now'):
    folder.release('ann', version=seen)
  # What the model writes meanwhile changes nothing that was looked at.
  folder.begin(['ann']).write({'ann': 'another'})
  assert folder.edit('ann', 'second', version=3).words == 'second'
  with pytest.raises(ConflictError, match='there is none now'):
    folder.edit('new', 'x', version=1)
  assert folder.edit('new', 'x', version=0).version == 1


# Both edit everybody's summary without having seen any, then one text by turns.
_TOGETHER = """
import json, sys
from prm_jax.kept_summaries import ConflictError, Folder
folder, name, won = Folder(sys.argv[1]), sys.argv[2], []
print('ready', flush=True)
sys.stdin.readline()
for n in range(12):
  try:
    folder.edit(f'u{n}', name)
    won.append(n)
  except ConflictError:
    pass
for n in range(12):
  while True:
    seen = folder.read('both')
    try:
      folder.edit('both', f'{seen.words} {name}{n}', version=seen.version)
      break
    except ConflictError:
      pass
print(json.dumps(won))
"""


def test_edits_of_two_processes_are_both_kept_or_one_is_told(tmp_path):
  folder = Folder(tmp_path)
  users = [f'u{n}' for n in range(12)]
  folder.begin([*users, 'both']).write(dict.fromkeys(users, 'model'))
  editors = [
    subprocess.Popen(
      [sys.executable, '-c', _TOGETHER, str(tmp_path), name],
      cwd=ROOT,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    for name in 'ab'
  ]
  for editor in editors:
    assert editor.stdout.readline() == 'ready\n'
  for editor in editors:
    editor.stdin.write('go\n')
    editor.stdin.flush()
  told = [editor.communicate(timeout=300)[0] for editor in editors]
  won = [json.loads(text) for text in told]
  assert sorted(won[0] + won[1]) == list(range(12))
  for name, mine in zip('ab', won, strict=True):
    assert all(folder.read(f'u{n}').words == name for n in mine)
  marks = [f'{name}{n}' for name in 'ab' for n in range(12)]
  assert sorted(folder.read('both').words.split()) == sorted(marks)


@pytest.mark.parametrize(
  ('change', 'why'),
  [
    (lambda known: known.update(user='bob'), "user is 'bob', not 'ann'"),
    (lambda known: known.update(version='2'), "version: '2'"),
    (lambda known: known.update(format=9), 'no summary of format 1'),
    (lambda known: known.update(more=1), r"\['more'\] are missing or too"),
    (lambda known: known.update(model={'words': 'x'}), 'model: '),
  ],
)
def test_a_file_that_does_not_fit_is_named(folder, change, why):
  folder.edit('ann', 'x')
  (path,) = folder.path.glob('*.json')
  known = json.loads(path.read_text())
  change(known)
  path.write_text(json.dumps(known))
  with pytest.raises(SummaryError, match=why) as error:
    folder.read('ann')
  assert str(path) in str(error.value)
  folder.forget('ann')  # damaged or not
  assert folder.users() == []


def test_strange_files_and_ids_are_no_people(folder):
  folder.edit('../Ann\n', 'x')
  (folder.path / '.DS_Store').write_bytes(b'\0')
  (folder.path / 'notes.json').write_text('{}')
  assert folder.users() == ['../Ann\n']
  assert not folder.knows('../ann\n')
  with pytest.raises(SummaryError, match='is no text'):
    folder.read('\udcff')


def test_looking_makes_nothing(tmp_path):
  folder = Folder(tmp_path / 'none')
  assert folder.users() == []
  for act in (folder.read, folder.release, folder.forget):
    with pytest.raises(KeyError, match='nothing is written'):
      act('ann')
  assert not (tmp_path / 'none').exists()
