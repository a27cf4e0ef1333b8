"""`prm audit --population` on votes in files, and on what it refuses."""

import gzip
import json

import numpy as np
import pytest
from scipy import special

from prm_jax import main


def folder(path, votes, accepted=1):
  """Writes votes `[P, S]`, 0 not seen, as Polis's conversations are here."""
  path.mkdir()
  statements = [
    {'statement': s, 'text': f'Statement {s}.', 'moderated': accepted}
    for s in range(votes.shape[1])
  ]
  people = [
    {
      'person': f'p{p}',
      'group': None,
      'votes': [[s, int(v)] for s, v in enumerate(row) if v],
    }
    for p, row in enumerate(votes)
  ]
  for name, rows in (('statements', statements), ('people', people)):
    with gzip.open(path / f'{name}.jsonl.gz', 'wt') as file:
      file.writelines(json.dumps(row) + '\n' for row in rows)
  return path


@pytest.mark.slow
def test_a_divided_population_is_audited(tmp_path, capsys):
  rng = np.random.default_rng(0)
  camp = np.where(np.arange(60) % 2, 1, -1)
  logit = 0.5 + rng.normal(size=36) + 1.5 * np.outer(camp, rng.normal(size=36))
  votes = np.where(rng.random(logit.shape) < special.expit(logit), 1, -1)
  made = folder(tmp_path / 'tea', votes)
  assert main.run(['audit', f'--population={made}']) == 0
  said = capsys.readouterr().out
  assert '60 people are measured' in said
  assert 'is reliable' in said
  added = {
    line.split()[0]: float(line.split(']')[-2].split()[0])
    for line in said.splitlines()
    if line.startswith(('personal', 'held'))
  }
  assert added['personal'] > 20
  assert abs(added['held']) < 10
  assert 'Statement' not in said
  assert sorted(path.name for path in tmp_path.iterdir()) == ['tea']


def test_few_people_and_two_conversations_are_refused(tmp_path, capsys):
  votes = np.ones((8, 40), int)
  made = folder(tmp_path / 'few', votes)
  assert main.run(['audit', f'--population={made}']) == 2
  assert 'fewer than 10 people' in capsys.readouterr().err
  two = np.zeros((40, 80), int)
  two[:20, :40], two[20:, 40:] = 1, 1
  made = folder(tmp_path / 'two', two)
  assert main.run(['audit', f'--population={made}']) == 2
  assert 'several conversations' in capsys.readouterr().err
