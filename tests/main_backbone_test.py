"""`--backbone`: a language model of one's own, frozen, or told of people."""

import json
import shutil

import numpy as np
import pytest

from prm_jax import main
from prm_jax.data.schema import read_lines
from prm_jax.lab import remembered, worded
from tests import checkpoints

WORDS = ['please', 'kindly', 'sir', 'dude', 'whatever', 'stuff', 'say', 'it']
SMALL = [
  *('--set=steps=2', '--set=rank=2', '--set=contexts=4', '--set=samples=2'),
  *('--set=history=40', '--set=text=16', '--set=response=8'),
  *('--set=summary=4', '--set=rate=0.01'),
]


@pytest.fixture
def files(tmp_path, private_cache):
  """A file of judgements of six people, half of whom are polite, a model."""
  rng = np.random.default_rng(0)
  lines = []
  for user in range(6):
    for number in range(12):
      polite, rude = rng.choice(WORDS[:3], 2), rng.choice(WORDS[3:6], 2)
      row = {
        'user_id': f'u{user}',
        'prompt_id': f'p{number % 6}',
        'prompt': f'say it {WORDS[number % 6]}',
        'response_a': ' '.join(polite),
        'response_b': ' '.join(rude),
        'label': 'ab'[user % 2],
      }
      lines.append(json.dumps(row) + '\n')
  path, folder = tmp_path / 'mine.jsonl', tmp_path / 'model'
  path.write_text(''.join(lines))
  folder.mkdir()
  return path, checkpoints.write(folder, WORDS, max_position_embeddings=256)


def run(command, workdir, *more):
  return main.run([command, f'--workdir={workdir}', *map(str, more)])


def scores(workdir, path, output, *more):
  assert (
    run('score', workdir, f'--data={path}', f'--output={output}', *more) == 0
  )
  return [json.loads(line)['score'] for line in read_lines(output)]


def test_a_frozen_model_reads_and_goes_with_an_export(files, tmp_path, capsys):
  path, folder = files
  start = 'please ' * 300  # the model reads 256 tokens
  alike = {'prompt_id': 'p0', 'prompt': f'say it {WORDS[0]}', 'label': 'a'}
  alike |= {'response_a': f'{start}sir', 'response_b': f'{start}dude'}
  with path.open('a') as file:
    for user in range(6):
      file.write(json.dumps({'user_id': f'u{user}', **alike}) + '\n')
  work, out = tmp_path / 'run', tmp_path / 'scored.jsonl'
  more = f'--data={path}', f'--backbone={folder}', '--components=7'
  assert run('train', work, *more, '--method=hierarchical') == 0
  said = capsys.readouterr().err
  assert '2 of' in said
  assert 'texts are longer than 256 tokens' in said
  assert 'that are read alike, and are left out' in said
  kept = json.loads((work / 'config.json').read_text())
  assert kept['kind'] == 'backbone'
  assert kept['source'].startswith('backbone ')
  assert kept['features'] == 8
  asked = tmp_path / 'asked.jsonl'
  texts = ('please sir', 'dude stuff')
  asked.write_text(
    ''.join(
      json.dumps({'prompt': 'say it', 'response': text}) + '\n'
      for text in texts
    )
  )
  polite, rude = (
    scores(work, asked, out, f'--user={user}') for user in ('u0', 'u1')
  )
  assert polite[0] - polite[1] > rude[0] - rude[1]
  everybody = scores(work, asked, out)
  export = tmp_path / 'export'
  assert run('export', work, f'--output={export}') == 0
  shutil.rmtree(folder)  # another machine has it nowhere else
  np.testing.assert_allclose(scores(export, asked, out), everybody, atol=1e-5)


def test_what_does_not_go_together_is_named(files, tmp_path, capsys):
  path, folder = files
  work = tmp_path / 'run'
  data, model = f'--data={path}', f'--backbone={folder}'
  for command, more, message in (
    ('train', ('--method=plus',), 'give --backbone=FOLDER'),
    ('train', ('--method=plus', model, '--encoder=x'), 'has no encoder'),
    ('train', ('--method=plus', model, '--set=dim=3'), 'option dim=3: one of'),
    ('train', ('--method=plus', model, '--mesh=data:1'), 'one device'),
    ('train', (model, '--encoder=x'), "['encoder', 'backbone'] are given"),
    ('train', ('--reading=sentence:last',), 'give its folder as backbone'),
    ('train', (model, '--reading=word:last'), "unit 'word': choose one of"),
    ('compare', (model, '--reading=sentence:last:9'), 'some of 0..2'),
    ('compare', ('--methods=plus',), 'plus tells a language model of people'),
    (
      'compare',
      ('--methods=pref', '--set=steps=2'),
      "['steps'] are of ['plus'",
    ),
    ('compare', ('--methods=plus', model), 'give a smaller history'),
    ('compare', ('--methods=plus', '--mesh=data:1'), 'are on one device'),
  ):
    assert run(command, work, data, *more) == 2
    assert message in capsys.readouterr().err
    assert not work.exists()


@pytest.mark.slow
def test_a_reading_of_sentences_is_compared_trained_and_exported(
  files, tmp_path, capsys
):
  path, folder = files
  work, out = tmp_path / 'run', tmp_path / 'scored.jsonl'
  more = f'--data={path}', f'--backbone={folder}', '--components=7'
  reading = '--reading=sentence:last:1,2'
  assert run('compare', work, *more, reading, '--methods=hierarchical') == 0
  results = json.loads((work / 'compare' / 'results.json').read_text())
  assert results['config']['features'].endswith(' sentence:last:1,2')
  assert results['config']['choice']['reading'] == 'sentence:last:1,2'
  assert run('compare', work, *more, '--methods=hierarchical') == 2
  # What is trained after it reads as was compared.
  assert run('train', work, f'--data={path}', '--components=7') == 2
  assert 'give its folder as backbone' in capsys.readouterr().err
  assert run('train', work, *more) == 0
  kept = json.loads((work / 'config.json').read_text())
  assert kept['reading'] == 'sentence:last:1,2'
  asked = tmp_path / 'asked.jsonl'
  row = {'prompt': 'say it', 'response': 'please sir'}
  asked.write_text(json.dumps(row) + '\n')
  first = scores(work, asked, out)
  for form in ('hf', 'stablehlo'):
    target = tmp_path / form
    assert run('export', work, f'--output={target}', f'--format={form}') == 2
    assert 'no sequence classifier computes' in capsys.readouterr().err
    assert not target.exists()
  assert run('export', work, f'--output={tmp_path / "export"}') == 0
  shutil.rmtree(folder)
  found = scores(tmp_path / 'export', asked, out)
  np.testing.assert_allclose(found, first, atol=1e-5)


@pytest.mark.slow
def test_plus_is_compared_trained_read_and_forgotten(files, tmp_path, capsys):
  path, folder = files
  work, out = tmp_path / 'run', tmp_path / 'scored.jsonl'
  more = f'--data={path}', f'--backbone={folder}', '--components=7', *SMALL
  kept = '--set=kept=4', '--set=event=12', '--set=adapter_steps=2'
  both = f'--methods={",".join(("plus", *remembered.METHODS, "hierarchical"))}'
  assert run('compare', work, *more, *kept, both) == 0
  results = json.loads((work / 'compare' / 'results.json').read_text())
  splits = {'new_pairs', 'new_prompts', 'new_people', 'new_people_new_prompts'}
  for method in worded.METHODS:
    gain = [r for r in results['tables']['gain'] if r['method'] == method]
    assert {row['split'] for row in gain} == splits, method
  controls = {
    row['control']
    for row in results['tables']['controls']
    if row['method'] == 'plus'
  }
  assert {'swapped_people', 'population_coefficients', 'exchange'} <= controls
  reasons = {row['method']: row for row in results['tables']['left_out']}
  assert 'plus' not in reasons
  assert run('compare', work, *more, *kept, both) == 0
  choice = json.loads((work / 'compare' / 'choice.json').read_text())
  assert choice['method'] in ('aggregate', 'hierarchical', 'plus')
  other = [*more, *kept, '--set=steps=3', both]
  assert run('compare', work, *other) == 2  # of another setting
  told = tmp_path / 'told'
  assert run('train', told, *more, '--method=plus') == 0
  assert (told / 'report' / 'index.html').exists()
  predicted = [json.loads(x) for x in read_lines(told / 'predictions.jsonl.gz')]
  assert {row['method'] for row in predicted} >= {'plus', 'aggregate'}
  one = [row for row in predicted if row['method'] == 'plus'][:4]
  capsys.readouterr()
  assert run('summary', told, 'show', '--user=u0') == 0
  assert one
  asked = tmp_path / 'asked.jsonl'
  asked.write_text(
    '{"prompt": "say it please", "response": "please sir"}\n'
    '{"prompt": "say it please", "response": "dude stuff"}\n'
  )
  before = scores(told, asked, out, '--user=u0')
  assert len(before) == 2
  assert run('summary', told, 'edit', '--user=u0', '--text=dude stuff') == 0
  assert scores(told, asked, out, '--user=u0') != before
  assert run('forget', told, '--user=u0') == 0
  assert run('score', told, f'--data={asked}', '--user=u0') == 2
  assert run('train', told, *more, '--method=plus') == 2
  assert 'is not empty' in capsys.readouterr().err
