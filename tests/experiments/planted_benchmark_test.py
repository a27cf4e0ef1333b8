"""What is drawn and counted; comparisons themselves are tested elsewhere."""

import json

import pytest

from experiments.benchmarks import planted


def gain(split, baseline, value, *, chosen=True, answers='all'):
  row = {'split': split, 'baseline': baseline, 'chosen': chosen}
  limits = {'gain': value, 'gain_low': value - 0.1, 'gain_high': value + 0.1}
  return row | limits | {'answers': answers}


@pytest.fixture(scope='module')
def tables():
  read = []

  def run(path, workdir, *, methods, audit):
    assert workdir == path.parent
    assert (methods, audit) == (('pref',), False)
    rows = [json.loads(line) for line in path.read_text('utf-8').splitlines()]
    read.append((workdir.name, rows))
    beyond = 0.2 if workdir.name == 'taste0' else -0.1
    return {
      'answer': ['It helps.', 'More.'],
      'tables': {
        'gain': [
          gain('new_pairs', 'aggregate', 0.3),
          gain('new_pairs', 'aggregate', 9.0, chosen=False),
          gain('new_pairs', 'aggregate', 9.0, answers=5),
          gain('new_pairs', 'habits', beyond),
          gain('new_prompts', 'aggregate', 0.0),
          gain('new_prompts', 'habits', 0.0),
        ]
      },
    }

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(planted.comparing, 'run', run)
    return planted.measure(planted.Sizes(1, 1, 2)), dict(read)


def test_populations_are_written_as_judgements(tables):
  _, read = tables
  assert list(read) == ['habits0', 'swapped0', 'taste0', 'taste1']
  for rows in read.values():
    assert len(rows) == 24 * 30
    assert len({row['user_id'] for row in rows}) == 24
  taste, swapped = read['taste0'], read['swapped0']

  def said(rows, name):
    return [row[name] for row in rows]

  # Ids alone are dealt anew.
  assert said(taste, 'response_a') == said(swapped, 'response_a')
  assert said(taste, 'user_id') != said(swapped, 'user_id')
  assert sorted(said(taste, 'user_id')) == sorted(said(swapped, 'user_id'))


def test_draws_that_show_a_gain_are_counted(tables):
  made, _ = tables
  assert len(made['draws']) == 4 * 2
  first = made['draws'][0]
  assert first['population'] == 'habits'
  assert (first['gain'], first['beyond']) == (0.3, -0.1)
  assert first['says'] == 'It helps.'
  rows = {
    (row['population'], row['split'], row['what']): row
    for row in made['summary']
  }
  assert len(rows) == 3 * 2 * 2
  taste = rows['taste', 'new_pairs', 'beyond shown']
  assert (taste['draws'], taste['shown'], taste['share']) == (2, 1, 0.5)
  assert taste['mean'] == pytest.approx((0.2 - 0.1) / 2)
  assert rows['taste', 'new_pairs', 'gain shown']['shown'] == 2
  assert rows['habits', 'new_prompts', 'gain shown']['shown'] == 0
