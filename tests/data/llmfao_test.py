"""People's choices between models' outputs, and two judges' on the same."""

import gzip
import json

import numpy as np
import pytest

from prm_jax.data import load, schema

PROMPTS = [
  {'prompt': 2, 'slug': 'joke', 'type': 'creativity', 'text': 'A joke?'},
  {'prompt': 9, 'slug': 'sum', 'type': 'reflexion', 'text': '1+1?'},
]
# Models 0 and 3 write the same words; 3 does not answer prompt 9.
OUTPUTS = [
  {'prompt': 2, 'model': m, 'name': f'M{m}', 'text': text}
  for m, text in ((0, 'same'), (1, '\none '), (3, 'same'))
] + [
  {'prompt': 9, 'model': m, 'name': f'M{m}', 'text': text}
  for m, text in ((0, '2'), (1, ''))
]


def choice(worker, pair, prompt, left, right, winner):
  row = {'pair': pair, 'prompt': prompt, 'left': left, 'right': right}
  return row | {'winner': winner} | ({'worker': worker} if worker else {})


SHOWN = {4: (2, 1, 0), 5: (2, 1, 3), 6: (9, 0, 1), 7: (2, 0, 3)}
CHOICES = [
  choice('v', 4, *SHOWN[4], 'left'),
  choice('w', 4, *SHOWN[4], 'tie'),
  choice('w', 6, *SHOWN[6], 'right'),
  choice('v', 5, *SHOWN[5], 'right'),
  choice('v', 7, *SHOWN[7], 'left'),  # compares a text with itself
]


def judge(*winners):
  return [
    choice('', pair, *SHOWN[pair], winner)
    for pair, winner in zip((7, 6, 5, 4), winners, strict=True)
  ]


SOURCE = {
  'prompts': PROMPTS,
  'outputs': OUTPUTS,
  'choices': CHOICES,
  'gpt3_choices': judge('tie', 'left', 'right', 'tie'),
  'gpt4_choices': judge('left', 'right', 'tie', 'left'),
}


def write(folder, **changed):
  """Writes the source with some of its files changed."""
  (folder / 'llmfao').mkdir()
  for name, rows in (SOURCE | changed).items():
    with gzip.open(folder / 'llmfao' / f'{name}.jsonl.gz', 'wt') as file:
      file.writelines(json.dumps(row) + '\n' for row in rows)


def test_order_is_as_shown_and_equal_words_are_one_text(
  tmp_path, private_cache
):
  write(tmp_path)
  for _ in range(2):  # prepared, then reused
    judged, report = load.load('llmfao', data_dir=tmp_path)
    assert judged.texts == ['\none ', 'same', '2', '']
    assert judged.user_ids == ['v', 'w']
    assert judged.prompt_ids == judged.topics == ['joke', 'sum']
    assert judged.prompts == ['A joke?', '1+1?']
    np.testing.assert_array_equal(judged.user, [0, 0, 1, 1])
    np.testing.assert_array_equal(
      judged.items, [[0, 1], [0, 1], [0, 1], [2, 3]]
    )
    np.testing.assert_array_equal(judged.label, [1, 0, 0.5, 0])
    assert (report.total, report.malformed) == (5, 0)
    assert report.notes == (
      '1 of 5 rows compare a response with itself and are left out',
    )


def test_judges_say_what_they_chose_where_people_did(tmp_path, private_cache):
  write(tmp_path)
  for _ in range(2):
    judges = load.llmfao_judges(tmp_path)
    assert judges.names == ['gpt3', 'gpt4']
    np.testing.assert_array_equal(judges.items, [[0, 1], [2, 3], [0, 1]])
    np.testing.assert_array_equal(judges.label, [[0.5, 1, 0], [1, 0, 0.5]])
    np.testing.assert_array_equal(judges.pair, [0, 2, 0, 1])
    assert judges.writers == [('M1',), ('M0', 'M3'), ('M0',), ('M1',)]


@pytest.mark.parametrize(
  ('name', 'rows', 'message'),
  [
    ('prompts', [*PROMPTS, PROMPTS[0]], r'prompts.*gz:3: prompt: occurs twice'),
    ('prompts', [{**PROMPTS[0], 'slug': 'sum'}, PROMPTS[1]], 'slug: one of'),
    ('prompts', [{**PROMPTS[0], 'text': None}], r'gz:1: text: expected str'),
    ('outputs', [*OUTPUTS, OUTPUTS[0]], r'outputs.*gz:6: model: answers a'),
    ('outputs', [{**OUTPUTS[0], 'prompt': 3}], r'gz:1: prompt: no prompt 3'),
    ('choices', [{**CHOICES[0], 'winner': 'a'}], r"1: winner: 'a' is none"),
    ('choices', [{**CHOICES[0], 'worker': 7}], r'gz:1: worker: expected str'),
    ('choices', [{**CHOICES[2], 'left': 3}], r'1: left: model 3 has no output'),
    (
      'choices',
      [*CHOICES, {**CHOICES[0], 'left': 0, 'right': 1}],
      r'gz:6: pair: 4 shows other outputs, or the same in another order',
    ),
    ('choices', CHOICES[4:], 'pair: 3 are judged by people or here alone'),
    (
      'gpt3_choices',
      [{**SOURCE['gpt3_choices'][0], 'right': 1}],
      r'gpt3_choices.*gz:1: pair: 7 shows other',
    ),
    ('gpt4_choices', SOURCE['gpt4_choices'] * 2, r'gpt4.*:5: pair: occurs tw'),
    ('gpt4_choices', SOURCE['gpt4_choices'][1:], '1 are judged by .* as 7'),
  ],
)
def test_malformed_rows_are_named(tmp_path, private_cache, name, rows, message):
  write(tmp_path, **{name: rows})
  for read in (load.llmfao_judges, lambda f: load.load('llmfao', data_dir=f)):
    with pytest.raises(schema.SchemaError, match=message):
      read(tmp_path)


def test_nothing_to_compare_and_nothing_there(tmp_path, private_cache):
  with pytest.raises(schema.SchemaError, match=r'prompts\.jsonl\.gz is missi'):
    load.judgements('llmfao', data_dir=tmp_path)
  alone = SOURCE['gpt3_choices'][:1]
  write(tmp_path, choices=CHOICES[4:], gpt3_choices=alone, gpt4_choices=alone)
  with pytest.raises(schema.SchemaError, match='no row compares two texts'):
    load.judgements('llmfao', data_dir=tmp_path)


def test_real_llmfao(real_data, private_cache, tmp_path):
  judged, report = load.load('llmfao', data_dir=real_data)
  assert report == schema.Report(7475, 0)
  label = dict(zip(*np.unique(judged.label, return_counts=True), strict=True))
  assert label == {0: 2133, 0.5: 2884, 1: 2458}
  assert len(judged.user_ids) == 108
  assert len(judged.prompts) == len(set(judged.topics)) == 13
  assert len(judged.texts) == 682  # of 750 outputs
  judges = load.llmfao_judges(real_data)
  assert judges.items.shape == (2139, 2)
  assert judges.label.shape == (2, 2139)
  np.testing.assert_array_equal((judges.label == 0.5).sum(1), [194, 66])
  np.testing.assert_array_equal(judges.items[judges.pair], judged.items)
  assert len(np.unique(judges.pair)) == 2139
  names = [name for names in judges.writers for name in names]
  assert (len(names), len(set(names))) == (750, 59)
  path = tmp_path / 'llmfao.jsonl'
  path.write_text(''.join(schema.judgement_lines(judged)))
  again, report = schema.read_jsonl(path)
  assert report == schema.Report(7475, 0)
  for name in ('user', 'label'):
    np.testing.assert_array_equal(getattr(again, name), getattr(judged, name))
  for side in (0, 1):
    assert [again.texts[i] for i in again.items[:, side]] == [
      judged.texts[i] for i in judged.items[:, side]
    ]
