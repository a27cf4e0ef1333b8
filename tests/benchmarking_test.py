"""Published forms are read, and figures are those that can be counted."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from prm_jax import benchmarking, exported, main
from prm_jax.data import benchmark_files, schema
from prm_jax.models.classifier import Scored

# A good answer says "good"; length and layout are free.
GOOD, BAD = 'good', 'bad words that go on'


def reward_bench(n, subset='hep-cpp', **more):
  row = {'prompt': f'p{n}', 'chosen': GOOD, 'rejected': BAD, 'subset': subset}
  return {**row, 'id': n, **more}


def reward_bench_2(n, subset='Math', right=1, wrong=3, **more):
  return {
    'id': str(n),
    'prompt': f'p{n}',
    'chosen': [f'{GOOD} {i}' for i in range(right)],
    'rejected': [f'{BAD} {i}' for i in range(wrong)],
    'num_correct': right,
    'subset': subset,
    **more,
  }


def ties(n):
  pair = [('ref', 1, 2), ('tied', 3, 2)]
  return [reward_bench_2(f'{k}:{n}', 'Ties', r, w) for k, r, w in pair]


def rm_bench(n, **more):
  styles = ['', ' and so on it goes', '\n- **and** so on it goes']
  row = {'id': n, 'prompt': f'p{n}', 'chosen': [GOOD + s for s in styles]}
  row['subset'] = 'alpacaeval-easy'  # as released
  return {**row, 'rejected': ['bad' + s for s in styles], **more}


def judge_bench(n, label='A>B', source='mmlu-pro-law'):
  a, b = (GOOD, BAD) if label == 'A>B' else (BAD, GOOD)
  row = {'question': f'p{n}', 'response_A': a, 'response_B': b}
  return {**row, 'label': label, 'source': source, 'pair_id': str(n)}


def llmbar(n, label=1, subset='LLMBar/Natural'):
  a, b = (GOOD, BAD) if label == 1 else (BAD, GOOD)
  row = {'input': f'p{n}', 'output_1': a, 'output_2': b}
  return {**row, 'label': label, 'subset': subset}


def own(n, user='ann', label='a'):
  a, b = (GOOD, BAD) if label != 'b' else (BAD, GOOD)
  row = {'user_id': user, 'prompt': f'p{n % 4}', 'response_a': a}
  return {**row, 'response_b': b, 'label': label}


OTHERS = ('Factuality', 'Precise IF', 'Safety')
SETS = {
  'reward_bench': [
    *(reward_bench(n) for n in range(4)),
    *(reward_bench(n, 'alpacaeval-easy') for n in range(4, 7)),
    *(reward_bench(n, 'donotanswer') for n in range(7, 9)),
    reward_bench(9, 'llmbar-natural'),
  ],
  'reward_bench_2': [
    *(reward_bench_2(n) for n in range(4)),
    *(reward_bench_2(n, 'Focus') for n in range(4, 6)),
    *(reward_bench_2(n, s) for n, s in enumerate(OTHERS, 6)),
    *(row for n in range(3) for row in ties(n)),
  ],
  'rm_bench': [rm_bench(n, domain='chat') for n in range(4)],
  'judge_bench': [judge_bench(n, ('A>B', 'B>A')[n % 2]) for n in range(6)],
  'llmbar': [
    *(llmbar(n, 1 + n % 2) for n in range(4)),
    llmbar(4, 2, 'LLMBar/Adversarial/Manual'),
  ],
  'judgements': [
    *(own(n, f'u{n % 5}', 'ab'[n % 2]) for n in range(40)),
    own(40, 'u1', 'tie'),
  ],
}


def save(path, rows):
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return path


@pytest.fixture(params=SETS)
def read(request, tmp_path):
  path = save(tmp_path / 'data.jsonl', SETS[request.param])
  found = benchmark_files.read(path)
  assert found.name == request.param
  return found


def told(rows, score):
  return [
    np.array([score(text) for text in texts], np.float32)
    for texts in rows.answers
  ]


def wise(text):
  return float('good' in text)


def test_who_is_right_has_all_and_who_is_wrong_nothing(read):
  right = benchmarking.table(read, told(read, wise), replicates=20)
  assert right[0]['part'] == 'overall'
  for row in right:
    # Right answers score the same: Ties is the most that there is.
    most = {'Ties': 1.01, 'overall': 1 + 0.01 / 6}
    most = most if read.name == 'reward_bench_2' else {}
    assert row['value'] == pytest.approx(most.get(row['part'], 1.0))
  wrong = benchmarking.table(
    read, told(read, lambda text: -wise(text)), replicates=20
  )
  # Of Ties the last term is -0.01.
  assert all(-0.01 <= row['value'] <= 0 for row in wrong)


def test_parts_are_of_as_many_prompts_as_there_are(read):
  rows = benchmarking.table(read, told(read, wise), replicates=2)
  count = {row['part']: row['n'] for row in rows}
  wanted = {
    'reward_bench': {'overall': 10, 'Chat': 3, 'Reasoning': 4, 'hep-cpp': 4},
    'reward_bench_2': {'Math': 4, 'Focus': 2, 'Ties': 6},
    'rm_bench': {'overall': 4, 'hard': 4, 'chat': 4},
    'judge_bench': {'overall': 6, 'mmlu-pro': 6},
    'llmbar': {'overall': 5, 'Natural': 4, 'Adversarial': 1},
    'judgements': {'overall': 40},  # a tie says nothing
  }[read.name]
  assert wanted.items() <= count.items()


def test_an_interval_is_as_wide_as_chance_says(tmp_path):
  rng = np.random.default_rng(0)
  rows = benchmark_files.read(
    save(tmp_path / 'd.jsonl', [judge_bench(n) for n in range(400)])
  )
  hits = rng.random(400) < 0.7
  found = [np.array([hit, 0.5]) for hit in hits]
  (row, *_) = benchmarking.table(rows, found)
  error = 1.96 * np.sqrt(hits.mean() * (1 - hits.mean()) / 400)
  assert row['value'] == pytest.approx(hits.mean())
  assert row['value_high'] - row['value_low'] == pytest.approx(
    2 * error, rel=0.15
  )


def test_ties_of_a_question_are_drawn_together(tmp_path):
  rows = benchmark_files.read(
    save(tmp_path / 'd.jsonl', [row for n in range(3) for row in ties(n)])
  )
  assert rows.unit.tolist() == [0, 0, 1, 1, 2, 2]
  index, unit = benchmarking._drawing(rows)(np.random.default_rng(0))
  assert unit.tolist() == [0, 0, 1, 1, 2, 2]
  assert (index[::2] + 1 == index[1::2]).all()


def test_probes_find_who_counts_words_and_marks(tmp_path):
  rows = benchmark_files.read(save(tmp_path / 'd.jsonl', SETS['rm_bench']))

  def quantities(score):
    found = benchmarking.probes(rows, told(rows, score))
    return {row['quantity']: row['value'] for row in found}

  long = quantities(lambda text: len(text.split()))
  assert long['the preferred one is longer'] == 1
  assert long['right where the right one is longer'] == 1
  assert long['right where the wrong one is longer'] == 0
  styled = quantities(lambda text: text.count('**'))
  assert styled['the preferred one is more layout'] == 1
  fair = quantities(wise)
  assert fair['right where the wrong one is longer'] == 1
  assert fair['the right one is longer'] == 0.5
  assert fair['the preferred one is longer'] == 0.5


@pytest.mark.parametrize(
  ('row', 'message'),
  [
    ({'prompt': 'p'}, 'of no benchmark'),
    (judge_bench(0, label='A=B'), "label: 'A=B' is one of"),
    (llmbar(0) | {'label': 3}, 'label: 3 is neither'),
    (reward_bench(0) | {'rejected': None}, 'rejected: is missing, or no text'),
    (rm_bench(0) | {'chosen': ['a']}, 'chosen: 1 texts, and 3 needed'),
    (reward_bench_2('x:1', 'Ties'), "id: 'x:1': of Ties"),
    (reward_bench_2(1, right=2), 'chosen: 2 right answers of Math'),
    (own(0) | {'label': 'c'}, 'label'),
  ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path, row, message):
  path = save(tmp_path / 'd.jsonl', [row])
  with pytest.raises(schema.SchemaError, match=message) as error:
    benchmark_files.read(path)
  assert str(path) in str(error.value)


def test_a_row_of_no_group_is_refused_before_a_model_is_read(tmp_path, capsys):
  rows = [judge_bench(0), judge_bench(1, source='law')]
  data = save(tmp_path / 'd.jsonl', rows)
  assert main.run(['benchmark', '--model=none', f'--data={data}']) == 2
  assert "row 2: 'law' is no group of judge_bench" in capsys.readouterr().err


def test_names_are_folders_of_data(tmp_path, monkeypatch):
  folder = tmp_path / 'rm_bench'
  folder.mkdir()
  for name in ('chat', 'safety-refuse'):
    save(folder / f'{name}.jsonl', [rm_bench(0), rm_bench(1)])
  monkeypatch.setenv('PRM_DATA_DIR', str(tmp_path))
  rows = benchmark_files.read('rm_bench')
  assert rows.group == ['chat', 'chat', 'safety-refuse', 'safety-refuse']
  monkeypatch.delenv('PRM_DATA_DIR')
  with pytest.raises(schema.SchemaError, match='PRM_DATA_DIR'):
    benchmark_files.read('llmbar')
  with pytest.raises(schema.SchemaError, match='is not a file'):
    benchmark_files.read(tmp_path / 'nothing.jsonl')
  ties_alone = save(tmp_path / 'own.jsonl', [own(0, label='tie')])
  with pytest.raises(schema.SchemaError, match='no row says which'):
    benchmark_files.read(ties_alone)


def test_the_command_writes_what_it_says(tmp_path, monkeypatch, capsys):
  seen = []

  def score(user, prompts, responses):
    seen.extend(responses)
    found = np.array([wise(text) for text in responses], np.float32)
    return Scored(found, found > 0, np.arange(len(found)))

  model = SimpleNamespace(score=score)
  monkeypatch.setattr(exported.Exported, 'load', lambda *a, **k: model)
  data = save(tmp_path / 'd.jsonl', SETS['llmbar'])
  out = tmp_path / 'out'
  call = ['benchmark', '--model=m', f'--data={data}', f'--output={out}']
  assert main.run(call) == 0
  assert len(seen) == 10  # each text once
  said = capsys.readouterr().out
  assert 'llmbar, overall: 1.000 [0.478, 1.000] of 5 prompts' in said
  known = json.loads((out / 'results.json').read_text())
  assert known['answer'] == said.splitlines()
  assert '5 texts were longer than what the model reads' in said
  assert {'benchmark', 'probes'} == set(known['tables'])
  assert main.run(call) == 2
  assert 'has something in it' in capsys.readouterr().err
  assert len(seen) == 10


def test_a_part_of_a_benchmark_has_no_overall_figure(tmp_path):
  rows = benchmark_files.read(
    save(tmp_path / 'd.jsonl', [reward_bench(n) for n in range(3)])
  )
  found = told(rows, wise)
  tables = {
    'benchmark': benchmarking.table(rows, found, replicates=2),
    'probes': [],
  }
  assert [r['part'] for r in tables['benchmark']] == ['Reasoning', 'hep-cpp']
  (first, *_) = benchmarking.answer({'tables': tables})
  assert 'Parts of the benchmark are missing' in first


def test_what_a_stranger_serves_is_audited():
  """Who scores by length serves no side, and lengthens what is served."""

  def score(user, prompts, responses):
    found = np.array([len(text) for text in responses], np.float32)
    return Scored(found, found < 0, np.arange(len(found)))

  rows = benchmarking.hazards(SimpleNamespace(score=score), None)
  found = {(row['method'], row['quantity']): row for row in rows}
  assert found['population', 'length added to the base']['value_low'] > 0
  stance = found['population', 'served stance']
  assert stance['value_low'] <= 0 <= stance['value_high']


def test_released_files_are_what_they_are_called(real_data):
  for name, group in (('rm_bench', 'chat'), ('llmbar', 'LLMBar/Natural')):
    rows = benchmark_files.read(name, real_data)
    assert rows.name == name
    assert group in rows.group


def test_rows_that_are_read_alike_are_left_out_and_counted(
  tmp_path, monkeypatch, capsys
):
  def score(user, prompts, responses):
    short = [text[:3] for text in responses]
    found = np.array([len(set(text)) for text in short], np.float32)
    read = np.array([hash(text) for text in short], np.int64)
    return Scored(found, np.ones(len(found), bool), read)

  model = SimpleNamespace(score=score)
  monkeypatch.setattr(exported.Exported, 'load', lambda *a, **k: model)
  rows = [
    {'input': f'p{n}', 'output_1': a, 'output_2': 'aaa b', 'label': 1}
    | {'subset': 'LLMBar/Natural'}
    for n, a in enumerate(['abc', 'aaa c', 'aab'])
  ]
  data = save(tmp_path / 'd.jsonl', rows)
  assert main.run(['benchmark', '--model=m', f'--data={data}']) == 0
  said = capsys.readouterr().out
  assert 'In 1 rows a right answer and a wrong one are read alike' in said
  assert 'llmbar, overall: 1.000' in said
  assert 'of 2 prompts' in said
  data = save(tmp_path / 'e.jsonl', rows[1:2])
  assert main.run(['benchmark', '--model=m', f'--data={data}']) == 2
  assert 'are read alike in every row' in capsys.readouterr().err
  half = save(tmp_path / 'f.jsonl', [{**rows[0], 'output_1': '\ud83d'}])
  assert main.run(['benchmark', '--model=m', f'--data={half}']) == 2
  assert 'holds half of a character' in capsys.readouterr().err
