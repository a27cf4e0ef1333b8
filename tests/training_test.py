import json
import sys

import chex
import pytest

from prm_jax import main, model, training
from prm_jax.data import schema
from prm_jax.runtime import checkpoint


def judged():
  """Judgements of ann, who likes what is long, and bob, who does not."""
  rows = [
    schema.Judgement(
      user, f'p{n % 4}', f'Why {n % 4}?', 'Because.', 'It ' * n, label, 'p'
    )
    for n in range(2, 42)
    for user, label in (('ann', 0.0), ('bob', 1.0))
  ]
  return schema.code_judgements(rows)


def fit(workdir, **watch):
  return training.fit(
    judged(),
    method='aggregate_mlp',
    options={'steps': 104},
    workdir=workdir,
    kind='surface',
    evaluate=False,
    watch=training.Watch(**watch),
  )


@pytest.mark.slow
def test_a_fit_is_traced_drawn_and_goes_on_from_a_named_step(tmp_path):
  plain = fit(tmp_path / 'plain').state.params['reward']
  workdir, trace = tmp_path / 'run', tmp_path / 'trace'
  state = fit(workdir, log='tensorboard', profile=trace).state
  found = state.params['reward']
  chex.assert_trees_all_close(found, plain, atol=1e-5)
  assert list(trace.rglob('*.xplane.pb'))
  assert list((workdir / 'tensorboard').iterdir())
  figures = workdir / 'metrics.jsonl'
  before = [json.loads(line) for line in figures.read_text().splitlines()]
  assert [row['step'] for row in before] == [100, 104]
  assert all(row['seconds_per_step'] > 0 for row in before)

  with pytest.raises(
    checkpoint.CheckpointError,
    match=r'no checkpoint of step 7; its steps: \[100, 104, 105\]',
  ):
    fit(workdir, restore_step=7)
  again = fit(workdir, restore_step=100).state  # and the four after it, anew
  chex.assert_trees_all_equal(again.params['reward'], found)
  after = [json.loads(line) for line in figures.read_text().splitlines()]
  assert [row['step'] for row in after] == [100, 104]
  assert 'seconds_per_step' not in after[1]  # which the second run wrote


def test_what_cannot_be_watched_is_refused_before_anything_is_read(
  tmp_path, monkeypatch
):
  def check(**watch):
    training.Watch(**watch).check('pep', {}, tmp_path, adapts=False)

  with pytest.raises(ValueError, match='after 3 steps, and pep takes 0'):
    check(profile=tmp_path / 'trace')
  with pytest.raises(ValueError, match='no checkpoint of step 5; its steps'):
    check(restore_step=5)
  with pytest.raises(ValueError, match=r'--log=wandb: one of'):
    check(log='wandb')
  with pytest.raises(ValueError, match='need a workdir'):
    training.Watch(log='tensorboard').check('pep', {}, None, adapts=False)
  monkeypatch.setitem(sys.modules, 'tensorboardX', None)
  with pytest.raises(ValueError, match=r"pip install 'prm_jax\[tensorboard\]"):
    check(log='tensorboard')
  assert not list(tmp_path.iterdir())


def test_the_command_says_how_a_fit_is_watched(tmp_path, monkeypatch, capsys):
  found = {}

  def fit(data, **options):
    found.update(options)
    raise ValueError('enough')

  monkeypatch.setattr(model.Model, 'fit', fit)
  own = ['--log=tensorboard', f'--profile={tmp_path}/trace', '--restore-step=9']
  command = ['train', f'--data={tmp_path}/mine.jsonl', f'--workdir={tmp_path}']
  assert main.run([*command, *own]) == 2
  assert found['watch'] == training.Watch(
    True, 'tensorboard', tmp_path / 'trace', 9
  )
  for option in own:
    more = [option, '--adapt=lora:2', '--backbone=b']
    assert main.run([*command, *more]) == 2
    assert f'{option.partition("=")[0]}: --adapt' in capsys.readouterr().err
