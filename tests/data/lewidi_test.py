"""Annotators' own labels of the same texts."""

import gzip
import json

import numpy as np
import pytest

from prm_jax.data import load, schema
from prm_jax.data.builders.lewidi import lewidi_dataset_builder as lewidi


def item(text, lang='en', **annotations):
  return {
    'id': '1',
    'split': 'dev',
    'lang': lang,
    'text': text,
    'annotations': annotations,
  }


def reply(context, response):
  return {'context': context, 'response': response}


def conversation(user, before='Hi'):
  turns = {'prev_agent': '', 'prev_user': '', 'agent': before, 'user': user}
  return json.dumps(turns)


CSC = [
  item(reply('It rains.', 'Lovely.'), Ann3='6', Ann1='4'),
  item(reply('It rains.', 'Take a coat.'), Ann1='1'),
  item(reply('A dog barks.', 'Lovely.'), Ann2='2', Ann1='3'),
  item(reply('It rains.', 'Lovely.'), Ann1='5', Ann2='6'),  # again for Ann1
]


def write(folder, subset, rows):
  (folder / 'lewidi').mkdir(exist_ok=True)
  path = folder / 'lewidi' / f'{subset}.jsonl.gz'
  with gzip.open(path, 'wt') as file:
    file.writelines(json.dumps(row) + '\n' for row in rows)


def read(folder, subset, **options):
  return load.load('lewidi', data_dir=folder, subset=subset, **options)


def test_a_label_is_a_rating_of_a_text_by_a_person(tmp_path, private_cache):
  write(tmp_path, 'csc', CSC)
  for _ in range(2):  # prepared, then reused
    rated, report = read(tmp_path, 'csc')
    assert isinstance(rated, schema.Ratings)
    assert rated.user_ids == ['csc-Ann3', 'csc-Ann1', 'csc-Ann2']
    assert rated.texts == ['Lovely.', 'Take a coat.', 'Lovely.']
    assert rated.prompt_texts == ['It rains.', 'It rains.', 'A dog barks.']
    assert rated.topics == rated.prompt_ids
    np.testing.assert_array_equal(rated.user, [0, 1, 1, 1, 2, 2])
    np.testing.assert_array_equal(rated.item, [0, 0, 1, 2, 2, 0])
    np.testing.assert_array_equal(rated.rating, [6, 4, 1, 3, 2, 6])
    assert (report.total, report.malformed) == (7, 0)
    assert report.notes == (
      "1 of 7 labels are a person's second of the same text and are left out",
    )
  soft = lewidi.soft_labels(rated)
  np.testing.assert_array_equal(soft.values, [1, 2, 3, 4, 6])
  np.testing.assert_array_equal(soft.people, [3, 1, 2])
  third = 1 / 3
  np.testing.assert_allclose(
    soft.share,
    [[0, 0, 0, third, 2 * third], [1, 0, 0, 0, 0], [0, 0.5, 0.5, 0, 0]],
    rtol=1e-6,
  )


def test_a_language_and_a_text_without_a_prompt(tmp_path, private_cache):
  rows = [
    item({'post': 'So?', 'reply': 'No.'}, Ann0='1'),
    item({'post': '¿Y?', 'reply': 'No.'}, 'es', Ann0='0', Ann9='1'),
  ]
  write(tmp_path, 'mp', rows)
  assert len(read(tmp_path, 'mp')[0].rating) == 3
  spanish, _ = read(tmp_path, 'mp', language='es')
  assert spanish.prompts == ['¿Y?']
  assert spanish.rating.tolist() == [0, 1]
  write(tmp_path, 'hs_brexit', [item('Oh.', Ann1='0'), item('Ah.', Ann2='1')])
  rated, _ = read(tmp_path, 'hs_brexit')
  assert (rated.prompts, rated.prompt_ids) == ([''], ['hs_brexit'])
  assert rated.texts == ['Oh.', 'Ah.']


def test_the_turns_before_are_the_prompt(tmp_path, private_cache):
  text = dict(zip(('prev_agent', 'prev_user'), ('Hello', 'Hm'), strict=True))
  whole = json.dumps({**text, 'agent': 'Well?', 'user': 'Go.'})
  rows = [item(conversation('Bye'), Ann1='1'), item(whole, Ann1='-3')]
  write(tmp_path, 'convabuse', rows)
  rated, _ = read(tmp_path, 'convabuse')
  assert rated.texts == ['Bye', 'Go.']
  assert rated.prompts == ['Agent: Hi', 'Agent: Hello\nUser: Hm\nAgent: Well?']
  assert rated.rating.tolist() == [1, -3]


@pytest.mark.parametrize(
  ('subset', 'row', 'message'),
  [
    ('csc', item('words', Ann1='1'), r'csc\.jsonl\.gz:2: text: expected dict'),
    (
      'csc',
      item({'context': 'c'}, Ann1='1'),
      r'gz:2: text: response: expected str',
    ),
    ('csc', item(reply('c', 'r'), Ann1='7'), r"gz:2: .*Ann1: '7' is none of"),
    ('csc', item(reply('c', 'r'), Ann1=3), r'gz:2: annotations: Ann1: 3 is no'),
    ('csc', item(reply('c', 'r')), r'gz:2: annotations: is empty'),
    ('mp', item({'post': 'p', 'reply': 1}, A='1'), r'gz:2: text: reply: exp'),
    ('convabuse', item('{', Ann1='1'), r'gz:2: text: not JSON'),
    ('convabuse', item('[]', Ann1='1'), r'gz:2: text: prev_agent: expected'),
    ('hs_brexit', item('x', lang=None, A='1'), r'gz:2: lang: expected str'),
  ],
)
def test_malformed_rows_are_named(
  tmp_path, private_cache, subset, row, message
):
  good = {
    'csc': CSC[0],
    'mp': item({'post': 'p', 'reply': 'r'}, A='1'),
    'convabuse': item(conversation('Bye'), Ann1='1'),
    'hs_brexit': item('x', A='1'),
  }[subset]
  write(tmp_path, subset, [good, row])
  with pytest.raises(schema.SchemaError, match=message):
    read(tmp_path, subset)


def test_what_is_not_there_is_named(tmp_path, private_cache):
  with pytest.raises(ValueError, match="subset 'varierrnli': one of"):
    read(tmp_path, 'varierrnli')
  with pytest.raises(schema.SchemaError, match=r'csc\.jsonl\.gz is missing'):
    read(tmp_path, 'csc')
  write(tmp_path, 'csc', CSC)
  with pytest.raises(schema.SchemaError, match="no text is in 'de'"):
    read(tmp_path, 'csc', language='de')


# Labels, people and least and largest label of the files at hand.
COUNTS = {
  'convabuse': (12168, 8, -3, 1),
  'csc': (6410, 872, 1, 6),
  'hs_brexit': (6720, 6, 0, 1),
  'md_agreement': (53764, 819, 0, 1),
  'mp': (33871, 506, 0, 1),
  'paraphrase': (2000, 4, -5, 5),
}


@pytest.mark.parametrize('subset', sorted(COUNTS))
def test_real_lewidi(real_data, private_cache, subset):
  if not (real_data / 'lewidi').is_dir():
    pytest.skip('no lewidi in the folder of the real data')
  rated, report = read(real_data, subset)
  total, people, low, high = COUNTS[subset]
  assert (report.total, report.malformed) == (total, 0)
  assert len(rated.user_ids) == people
  assert (rated.rating.min(), rated.rating.max()) == (low, high)
  pairs = np.stack([rated.user, rated.item], 1)
  assert len(np.unique(pairs, axis=0)) == len(pairs)
  soft = lewidi.soft_labels(rated)
  np.testing.assert_allclose(soft.share.sum(1), 1, atol=1e-5)
