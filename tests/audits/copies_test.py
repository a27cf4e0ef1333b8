import dataclasses

import numpy as np
import pytest

from prm_jax.audits import copies
from prm_jax.data import schema

WORDS = [f'word{i}' for i in range(200)]
PEOPLE, EACH, TEXTS = 30, 20, 120


def judgements(seed=0):
  """People who judge random pairs of texts, by a taste and much chance."""
  rng = np.random.default_rng(seed)
  texts = [' '.join(rng.choice(WORDS, 20)) for _ in range(TEXTS)]
  rows = []
  for user in range(PEOPLE):
    seen = set()
    while len(seen) < EACH:
      a, b = sorted(rng.permutation(TEXTS)[:2].tolist())
      if (a, b) not in seen:
        seen.add((a, b))
        rows.append(
          schema.Judgement(
            user_id=f'u{user}',
            prompt_id='p',
            prompt='Which?',
            response_a=texts[a],
            response_b=texts[b],
            label=float(rng.integers(0, 2)),
            topic='t',
          )
        )
  return rows


def checked(rows):
  judged = schema.code_judgements(rows)
  found = copies.find(judged)
  rows = {row['control']: row for row in copies.rows(judged, found)}
  return {name for name, row in rows.items() if row['leak']}, rows, judged


def change(row, **values):
  return dataclasses.replace(row, **values)


def test_clean_judgements_raise_no_alarm():
  for seed in range(10):
    assert checked(judgements(seed))[0] == set()


@pytest.mark.parametrize(
  'form',
  [
    lambda text: text,
    lambda text: f'  {text.upper()}\n',
    lambda text: text.replace(' ', '\u200b  '),
    lambda text: text + '.',
    lambda text: text.replace('word', 'word&#8203;'),
    lambda text: ' '.join([*text.split()[:19], 'other']),
  ],
)
def test_repeated_judgements_are_found_however_they_are_written(form):
  rows = judgements()
  again = [
    change(
      row, response_a=form(row.response_b), response_b=form(row.response_a)
    )
    for row in rows[::10]
  ]
  alarms, found, _ = checked(rows + again)
  assert 'repeated_judgements' in alarms
  assert found['repeated_judgements']['value'] == pytest.approx(
    len(again) / (len(rows) + len(again)), rel=0.05
  )
  assert found['repeated_judgements']['mark'] == f'row {len(rows) + 1}'


def test_short_answers_that_are_the_same_do_not_count():
  rows = [
    change(row, response_a=f'{number % 7}.', response_b=f'no, {number % 7}')
    for number, row in enumerate(judgements())
  ]
  assert 'repeated_judgements' not in checked(rows)[0]


@pytest.mark.parametrize('kept', [1.0, 0.9])
def test_copied_people_are_found_in_whole_and_in_large_part(kept):
  rows = judgements()
  rng = np.random.default_rng(1)
  copied = [
    change(row, user_id=f'{row.user_id} again')
    for row in rows
    if row.user_id in {'u3', 'u7'} and rng.random() < kept
  ]
  # A copy may have its rows turned.
  copied = [
    change(
      row,
      response_a=row.response_b,
      response_b=row.response_a,
      label=1 - row.label,
    )
    for row in copied
  ]
  alarms, found, judged = checked(rows + copied)
  assert alarms == {'copied_people'}
  assert '3' not in found['copied_people']['mark'].split('row')[0]  # no name
  same = copies.find(judged).person
  names = judged.user_ids
  assert names[same[names.index('u3 again')]] == 'u3'
  assert (same == np.arange(len(names))).sum() == PEOPLE


def test_people_of_few_answers_are_nobody_s_copies():
  rows = [r for n, r in enumerate(judgements()) if n % EACH < 4]
  again = [change(row, user_id=row.user_id + ' again') for row in rows]
  assert checked(rows + again)[0] == set()


def test_a_debate_under_two_topics_is_found():
  rows = [
    change(row, topic=f't{n % 3}', prompt_id=f'p{n % 3}', prompt=f'Q {n % 3}')
    for n, row in enumerate(judgements())
  ]
  rows = [
    change(
      row,
      response_a=row.response_a.replace('word', row.topic),
      response_b=row.response_b.replace('word', row.topic),
    )
    for row in rows
  ]
  assert checked(rows)[0] == set()
  again = [
    change(row, topic='t1 again', prompt_id='other')
    if row.topic == 't1' and n % 2
    else row
    for n, row in enumerate(rows)
  ]
  alarms, found, _ = checked(again)
  assert alarms == {'shared_topics'}
  assert found['shared_topics']['mark'] == "'t1' and 't1 again'"
  assert found['shared_topics']['value'] == pytest.approx(2 / 4)


def test_ratings_are_compared_as_they_were_given():
  rng = np.random.default_rng(0)
  rows = [
    schema.Rating(
      user_id=f'u{user}',
      prompt_id='p',
      prompt='How good?',
      response=f'text {item} of some words',
      rating=float(rng.normal()),
      topic='t',
    )
    for user in range(10)
    for item in range(12)
  ]
  again = [change(row, user_id='copy') for row in rows if row.user_id == 'u4']
  found = copies.find(schema.code_ratings(rows + again))
  assert found.person.tolist() == [*range(10), 4]


def test_numbers_are_of_the_first_like_it():
  found = copies.texts(
    ['a b c', 'x', 'A  b, c!', 'x ', 'a b', '\u2764', '\u2764']
  )
  assert found.tolist() == [0, 1, 0, 1, 4, 5, 5]
  assert copies.texts([]).tolist() == []
