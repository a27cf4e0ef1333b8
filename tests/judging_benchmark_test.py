"""Verdicts of a judge count as each benchmark's release has them count."""

import json

import numpy as np
import pytest

from prm_jax import benchmarking, judging_benchmark, main
from prm_jax.data import benchmark_files
from prm_jax.rewards import generative, judge_formats
from tests import checkpoints
from tests.benchmarking_test import BAD, GOOD, SETS, save
from tests.rewards import tiny_judge

PAIRS = ('reward_bench', 'judge_bench', 'llmbar', 'judgements')
RULES = {
  'right': lambda prompt: 'AB'[prompt.rindex(BAD) < prompt.rindex(GOOD)],
  'wrong': lambda prompt: 'BA'[prompt.rindex(BAD) < prompt.rindex(GOOD)],
  'first': lambda prompt: 'A',
  'silent': lambda prompt: 'C',
}


@pytest.fixture
def judge(monkeypatch):
  """Makes a judge of pairs that follows a rule."""

  def make(rule, form=None):
    def says(prompt, row):
      del row
      return f'<answer>[[{rule(prompt)}]]</answer>'

    writer = tiny_judge.Scripted(says)
    monkeypatch.setattr(generative.sampling, 'write', writer.write)
    model = tiny_judge.model(4096)
    return generative.Judge(
      model, form or judge_formats.rm_r1(), max_new_tokens=8
    )

  return make


def rows_of(name, folder):
  return benchmark_files.read(save(folder / 'data.jsonl', SETS[name]))


def figures(rows, said):
  assert said.verdicts is not None
  table = benchmarking.table(
    rows,
    list(said.verdicts),
    parts=judging_benchmark.parts,
    credit=judging_benchmark.credit,
    replicates=20,
  )
  return {row['part']: row['value'] for row in table}


@pytest.mark.parametrize('name', PAIRS)
@pytest.mark.parametrize(
  ('rule', 'wanted', 'consistent'),
  [('right', 1, 1), ('wrong', 0, 1), ('first', 0.5, 0), ('silent', 0, 0)],
)
def test_verdicts_of_both_orders_count(
  judge, tmp_path, name, rule, wanted, consistent
):
  rows = rows_of(name, tmp_path)
  said = judging_benchmark.judged(judge(RULES[rule]), rows, k=2)
  found = figures(rows, said)
  if name == 'judge_bench' and rule == 'first':
    wanted = 0  # right and wrong is not right
  assert found['overall'] == wanted
  if name in ('judge_bench', 'llmbar'):
    assert found['consistent'] == consistent
  assert said.invalid == (rule == 'silent')
  share = {'right': 1, 'wrong': 0, 'first': 0.5, 'silent': 0}[rule]
  for places, told in zip(rows.right, said.scores, strict=True):
    assert told[places[0]] == share


def test_a_tie_of_an_orders_texts_is_half(tmp_path):
  rows = rows_of('llmbar', tmp_path)
  tie = np.full((len(rows.prompts), 2), judging_benchmark.both_orders.TIE)
  credit = judging_benchmark.credit(rows, tie)
  np.testing.assert_array_equal(credit, 0.5)


def test_the_majority_of_each_orders_texts_is_its_verdict(judge, tmp_path):
  """One of three texts of each order is wrong."""
  count = iter(range(10**6))

  def mostly(prompt):
    return RULES['wrong' if next(count) // 2 % 3 == 1 else 'right'](prompt)

  rows = rows_of('llmbar', tmp_path)
  said = judging_benchmark.judged(judge(mostly), rows, k=3)
  assert figures(rows, said)['overall'] == 1
  assert said.scores[0][rows.right[0][0]] == pytest.approx(2 / 3)


@pytest.mark.parametrize('name', ['rm_bench', 'reward_bench_2'])
def test_more_answers_are_a_tournament(judge, tmp_path, name):
  def first_good(prompt):  # of two good ones, or two bad ones, the first
    both = prompt[prompt.index("[The Start of Chatbot A's") :]
    one, other = both.split("[The Start of Chatbot B's")
    return 'AB'['good' in other and 'good' not in one]

  rows = rows_of(name, tmp_path)
  said = judging_benchmark.judged(judge(first_good), rows, k=1)
  assert said.verdicts is None
  table = benchmarking.table(rows, said.scores, replicates=5)
  assert table[0]['value'] >= 1
  silent = judging_benchmark.judged(judge(RULES['silent']), rows, k=1)
  table = benchmarking.table(rows, silent.scores, replicates=5)
  assert table[0]['value'] <= 0
  assert silent.invalid == 1


def folder_of(tmp_path):
  words = ['good', 'bad', 'answer', 'A', 'B', *'[]<>/.', 'words', 'that']
  sizes = {'max_position_embeddings': 4096}
  (tmp_path / 'model').mkdir()
  return checkpoints.write(tmp_path / 'model', words, **sizes)


@pytest.mark.slow
def test_a_checkpoint_judges_from_the_command_line(tmp_path, capsys):
  data = save(tmp_path / 'data.jsonl', SETS['llmbar'])
  command = ['benchmark', f'--model={folder_of(tmp_path)}', f'--data={data}']
  output = tmp_path / 'out'
  options = ['--judge=rm_r1', '--tokens=4', f'--output={output}']
  assert main.run([*command, *options]) == 0
  assert '% of the texts say nothing, and are wrong.' in capsys.readouterr().out
  results = json.loads((output / 'results.json').read_text())
  assert results['config']['judge'] == 'rm_r1'
  assert 0 <= results['config']['invalid'] <= 1


@pytest.mark.parametrize(
  ('option', 'message'),
  [
    ('--judge=oracle', "--judge=oracle: one of ['br_rm'"),
    ('--tokens=0', '--tokens=0'),
    ('--hazards', '--hazards: of scores, and a judge writes verdicts'),
    ('--user=ann', '--user: of scores'),
  ],
)
def test_what_a_judge_cannot_do_is_refused(tmp_path, capsys, option, message):
  data = save(tmp_path / 'data.jsonl', SETS['llmbar'])
  command = ['benchmark', f'--model={tmp_path}', f'--data={data}']
  judge = [] if 'judge' in option else ['--judge=rm_r1']
  assert main.run([*command, *judge, option]) == 2
  assert message in capsys.readouterr().err
