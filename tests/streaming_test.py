"""`prm score --model`: what comes is scored while more comes."""

import io
import json

import numpy as np
import pytest

from prm_jax import exported, main, streaming
from prm_jax.models.classifier import Scored


class Lengths:
  """A model whose scores are lengths; who it knows has their own sign."""

  def __init__(self):
    self.seen = []

  def vector(self, user):
    if user not in (None, 'ann'):
      raise KeyError(f'not in the model: {user!r}')
    return np.ones(1) * (1 if user is None else -1)

  def score(self, user, prompts, responses):
    self.seen.append(len(responses))
    sizes = np.array([len(response) for response in responses], np.float32)
    return Scored(sizes * self.vector(user), sizes > 9, np.arange(len(sizes)))


@pytest.fixture
def model(monkeypatch):
  found = Lengths()

  def load(folder, label=None):
    if label == 'none':
      raise ValueError('--label=none')
    return found

  monkeypatch.setattr(exported.Exported, 'load', load)
  return found


def rows(count, size=3):
  return [
    json.dumps({'prompt': 'p', 'response': 'x' * (size + n), 'id': n}) + '\n'
    for n in range(count)
  ]


def test_rows_are_scored_as_they_come(model):
  given = rows(5)

  def lines():
    for number, line in enumerate(given):
      if number == 4:  # what was read before has been scored
        assert model.seen == [2, 2]
      yield line

  told = list(streaming.scored(model, None, lines(), 'x', batch=2))
  assert [json.loads(line)['score'] for line in told] == [3, 4, 5, 6, 7]
  assert model.seen == [2, 2, 1]


def test_a_file_is_scored_for_a_person(model, tmp_path, capsys):
  data, out = tmp_path / 'in.jsonl', tmp_path / 'out.jsonl'
  data.write_text(rows(1)[0] + '\n' + rows(1, 12)[0])
  call = ['score', '--model=m', f'--data={data}', '--user=ann']
  assert main.run([*call, f'--output={out}']) == 0
  found = [json.loads(line) for line in out.read_text().splitlines()]
  assert [row['score'] for row in found] == [-3, -12]
  assert [row.get('truncated') for row in found] == [None, True]
  assert main.run(call) == 0
  assert capsys.readouterr().out == out.read_text()


def test_standard_input_is_read(model, monkeypatch, capsys):
  monkeypatch.setattr('sys.stdin', io.StringIO(''.join(rows(3))))
  assert main.run(['score', '--model=m', '--data=-']) == 0
  assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    ('{', 'not JSON'),
    ('[]', 'expected an object'),
    ('{"prompt": "p"}', 'response: is missing'),
    ('{"prompt": "p", "response": 3}', 'response: is neither'),
    ('{"prompt": "p", "response": []}', 'response: is neither'),
    ('{"prompt": "", "response": "r"}', 'prompt: is neither'),
    ('{"prompt": "p", "response": "\\ud800"}', 'half of a character'),
    ('{"prompt": "p", "response": "r", "score": 1}', "a field 'score' of its"),
  ],
)
def test_a_row_that_cannot_be_scored_is_named(
  model, tmp_path, capsys, line, message
):
  data, out = tmp_path / 'in.jsonl', tmp_path / 'out.jsonl'
  data.write_text(rows(1)[0] + line + '\n')
  call = ['score', '--model=m', f'--data={data}', f'--output={out}']
  assert main.run(call) == 2
  said = capsys.readouterr().err
  assert f'{data}:2: ' in said
  assert message in said
  assert [*tmp_path.iterdir()] == [data]  # nothing that is half there


@pytest.mark.parametrize(
  ('more', 'message'),
  [
    (['--user=who'], "not in the model: 'who'"),
    (['--label=none'], '--label=none'),
    (['--bound=lower_bound'], '--bound: of --workdir alone'),
    (['--output=nowhere/x'], 'its folder does not exist'),
  ],
)
def test_what_cannot_be_is_said_before_a_row_is_read(
  model, tmp_path, capsys, more, message
):
  data = tmp_path / 'in.jsonl'
  data.write_text(''.join(rows(1)))
  assert main.run(['score', '--model=m', f'--data={data}', *more]) == 2
  assert message in capsys.readouterr().err
  assert model.seen == []


def test_an_empty_file_and_a_label_elsewhere_are_refused(
  model, tmp_path, capsys
):
  data = tmp_path / 'in.jsonl'
  data.write_text('')
  assert main.run(['score', '--model=m', f'--data={data}']) == 2
  assert 'has no row' in capsys.readouterr().err
  call = ['score', f'--workdir={tmp_path}', f'--data={data}', '--label=x']
  assert main.run(call) == 2
  assert '--label: of --model alone' in capsys.readouterr().err
