"""`--adapt` of `prm train`: layers of a language model of one's own."""

import json

import numpy as np
import pytest

from prm_jax import adapting, main
from prm_jax.data.schema import read_lines
from prm_jax.model import Model
from prm_jax.models import adapted
from prm_jax.runtime import checkpoint
from tests import exports_made

TEXTS = ['aab', 'bbb cc', 'habd', 'gg a']
SMALL = ('--components=15', '--set=dim=2', '--set=steps=20', '--set=epochs=3')


@pytest.fixture
def files(tmp_path, private_cache):
  """A checkpoint of four layers, judgements, and responses to score."""
  folder = exports_made.checkpoint(
    tmp_path / 'base', *exports_made.tiny(), bf16=False
  )
  data = exports_made.judgements(tmp_path / 'mine.jsonl')
  asked = tmp_path / 'asked.jsonl'
  rows = [{'prompt': 'Say 1', 'response': text} for text in TEXTS]
  asked.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return folder, data, asked


def run(command, *more):
  return main.run([command, *map(str, more)])


def scores(asked, *more):
  output = asked.parent / 'scored.jsonl'
  assert run('score', f'--data={asked}', f'--output={output}', *more) == 0
  return np.array([json.loads(x)['score'] for x in read_lines(output)])


def close(found, want):
  np.testing.assert_allclose(found, want, atol=2e-5 * np.abs(want).max())


def test_what_cannot_be_adapted_is_named(tmp_path, capsys):
  for more, message in (
    (('--adapt=lora:0', '--backbone=x'), '--adapt=lora:0: write frozen'),
    (('--adapt=lora:2',), 'give its folder with --backbone'),
    (('--adapt=lora:2', '--encoder=x'), 'an encoder stays as it is'),
    (('--adapt=full:1', '--backbone=x', '--method=vpl'), 'vpl is not fitted'),
    (('--adapt=full:1', '--backbone=x', '--restore-step=3'), 'in one process'),
    (('--adapt=full:1', '--backbone=x', '--method=plus'), 'has no adapt'),
    (('--precision=bfloat16', '--backbone=x'), 'of what --adapt trains'),
  ):
    work = tmp_path / 'run'
    assert run('train', f'--workdir={work}', '--data=no', *more) == 2
    assert message in capsys.readouterr().err
    assert not work.exists()
  call = ('export', f'--workdir={tmp_path}', f'--output={tmp_path / "out"}')
  assert run(*call, '--merge') == 2
  assert '--merge: of --format=hf alone' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize('form', ['lora:2:4', 'full:1'])
def test_layers_train_and_go_with_the_model(
  files, tmp_path, capsys, monkeypatch, form
):
  folder, data, asked = files
  work, other = tmp_path / 'run', tmp_path / 'other'
  more = (f'--data={data}', f'--backbone={folder}', f'--adapt={form}', *SMALL)
  more = (*more, '--method=pref', '--set=trunk_rate=0.01')
  save, count = checkpoint.Checkpoints.save, []

  def killed(manager, step, state, data=None):
    save(manager, step, state, data)
    manager.wait()
    count.append(manager.folder.name)
    if count == ['adapting', 'adapting']:
      raise KeyboardInterrupt

  monkeypatch.setattr(checkpoint.Checkpoints, 'save', killed)
  with pytest.raises(KeyboardInterrupt):
    run('train', f'--workdir={work}', *more)
  assert (work / 'adapting').exists()
  assert run('train', f'--workdir={work}', *more) == 0
  assert not (work / 'adapting').exists()
  monkeypatch.setattr(checkpoint.Checkpoints, 'save', save)
  assert run('train', f'--workdir={other}', *more) == 0
  for name in (adapted.WEIGHTS, adapted.CARD):
    own, never = (of / adapting.FOLDER / name for of in (work, other))
    assert own.read_bytes() == never.read_bytes()
  known = json.loads((work / 'config.json').read_text())
  assert known['adapt']['form'] == form.split(':')[0]
  assert known['options'] == {'dim': 2, 'steps': 20}
  capsys.readouterr()
  assert run('train', f'--workdir={work}', *more[:-1]) == 2  # another rate
  assert 'adapt.trunk_rate: saved 0.01, now' in capsys.readouterr().err
  data.write_text(data.read_text() + data.read_text().splitlines()[0] + '\n')
  assert run('train', f'--workdir={work}', *more) == 2
  assert 'was made with another configuration' in capsys.readouterr().err
  want = scores(asked, f'--workdir={work}', '--user=u1')
  close(scores(asked, f'--workdir={other}', '--user=u1'), want)
  everybody = scores(asked, f'--workdir={work}')
  assert np.abs(everybody - want).max() > 1e-3
  call = ('export', f'--workdir={work}')
  assert run(*call, f'--output={tmp_path / "orbax"}') == 0
  close(scores(asked, f'--workdir={tmp_path / "orbax"}'), everybody)
  Model.load(work).save(tmp_path / 'copy')
  close(scores(asked, f'--workdir={tmp_path / "copy"}', '--user=u1'), want)
  ways = [()] if form == 'full:1' else [(), ('--merge',)]
  for way in ways:
    out = tmp_path / f'hf{len(way)}'
    hf = ('--format=hf', f'--output={out}', '--user=u1', *way)
    assert run(*call, *hf) == 0
    close(scores(asked, f'--model={out}'), want)
    assert (out / 'adapter_config.json').exists() == (
      form != 'full:1' and not way
    )
  small = ('--questions=6', '--answers=2')
  assert run('audit', f'--workdir={work}', *small) == 0


def test_what_cannot_be_compared_with_layers_is_named(files, tmp_path, capsys):
  folder, data, _ = files
  model = f'--backbone={folder}'
  for more, message in (
    (('--adapt=lora:1',), 'give its folder with --backbone'),
    (('--adapt=lora:1', model, '--methods=vpl'), "one of ['lore', 'pref'] is"),
    (('--adapt=lora:9', model, '--methods=pref'), 'train 1 to 2'),
    (
      ('--adapt=lora:1', model, '--reading=text:last', '--methods=pref'),
      'without --reading',
    ),
    (('--adapt=lora:1', model, '--set=epochs=0'), 'epochs=0: give a whole'),
    (('--precision=bfloat16', model), 'of what --adapt trains'),
  ):
    work = tmp_path / 'run'
    assert run('compare', f'--workdir={work}', f'--data={data}', *more) == 2
    assert message in capsys.readouterr().err
    assert not work.exists()


@pytest.mark.slow
def test_layers_are_compared_beside_the_frozen_model(files, tmp_path, capsys):
  folder, data, _ = files
  work, plain = tmp_path / 'run', tmp_path / 'plain'
  more = (f'--data={data}', f'--backbone={folder}', '--components=15')
  more = (*more, '--methods=pref')
  adapt = ('--adapt=lora:2:4', '--set=epochs=3', '--set=trunk_rate=0.02')
  assert run('compare', f'--workdir={work}', *more, *adapt) == 0
  said = capsys.readouterr()
  assert 'With layers that train, PReF gains' in said.out
  assert 'adapting: ' in said.err
  results = json.loads((work / 'compare' / 'results.json').read_text())
  rows = results['tables']['adapted']
  assert {(row['method'], row['baseline']) for row in rows} == {
    ('aggregate_adapted', 'aggregate'),
    ('pref_adapted', 'pref'),
    ('pref_adapted', 'aggregate_adapted'),
  }
  assert any(row['gain'] for row in rows)  # something moved
  page = (work / 'compare' / 'report' / 'index.html').read_text()
  assert 'What training layers of the language model gained' in page
  # The search, the choice and every other table are the frozen model's.
  assert run('compare', f'--workdir={plain}', *more) == 0
  alone = json.loads((plain / 'compare' / 'results.json').read_text())
  for name in ('accuracy', 'gain', 'controls'):
    assert results['tables'][name] == alone['tables'][name]
  assert results['config']['choice'] == alone['config']['choice']
  assert results['config']['adapt']['rank'] == 4
  # What is done is not done again, and another plan is another comparison.
  assert run('compare', f'--workdir={work}', *more, *adapt) == 0
  assert 'adapting: ' not in capsys.readouterr().err
  assert run('compare', f'--workdir={work}', *more) == 2
