import numpy as np
import pytest

from prm_jax.audits import leaks

WORDS = [
  *['so', 'the', '(old)', 'dog', 'said', '"no"', 'and', 'ran,', 'then', 'it'],
  'slept\nwell',
]


def texts_and_pairs(seed, n=300):
  rng = np.random.default_rng(seed)
  texts = [' '.join(rng.choice(WORDS, 12)) + '.' for _ in range(2 * n)]
  label = rng.integers(0, 2, n)
  return texts, np.arange(2 * n).reshape(n, 2), label, rng


def planted(form, *, side, share=1.0, seed=0):
  """Texts of which one side, in a share of the rows, has another form."""
  texts, items, label, rng = texts_and_pairs(seed)
  for row, first in zip(items, label, strict=True):
    if rng.random() < share:
      marked = row[0] if (side == 'chosen') == bool(first) else row[1]
      texts[marked] = form(texts[marked])
  return texts, items, label


def alarms(*made):
  return {row['control'] for row in leaks.rows(*made) if row['leak']}


def test_clean_pairs_are_not_flagged():
  assert (
    sum(bool(alarms(*texts_and_pairs(seed)[:3])) for seed in range(20)) <= 1
  )


def test_a_taste_for_length_is_no_leak():
  texts, items, _, _ = texts_and_pairs(0)
  texts = [t * (1 + i % 5) for i, t in enumerate(texts)]
  size = np.array([len(t) for t in texts])
  label = size[items[:, 0]] > size[items[:, 1]]
  found = {row['control']: row for row in leaks.rows(texts, items, label)}
  assert not found['preference_probe']['leak']
  assert not found['slot_probe']['leak']


FORMS = {
  'list': (lambda text: str([text]), 'rejected', 0.45),
  'bullets': (lambda t: '- ' + t.replace(' then', '\n- then'), 'chosen', 0.45),
  'entities': (lambda text: text.replace('"', '&quot;'), 'rejected', 1.0),
  'cut': (lambda text: text[:-6], 'rejected', 1.0),
  'no full stop': (lambda text: text.rstrip('.'), 'rejected', 1.0),
  'zero-width space': (lambda t: t[:5] + '\u200b' + t[5:], 'chosen', 1.0),
  'control character': (lambda text: text + '\x07', 'chosen', 0.3),
  'prefix': (lambda text: 'Sure! ' + text, 'chosen', 1.0),
  'last words': (lambda text: text + ' Hope that helps', 'chosen', 0.5),
  'markup': (lambda text: f'<p>{text}</p>', 'rejected', 0.5),
}


@pytest.mark.parametrize('name', FORMS)
def test_a_form_of_one_side_alone_is_found(name):
  form, side, share = FORMS[name]
  found = alarms(*planted(form, side=side, share=share))
  assert found & {'preference_probe', 'mark_probe'}
  assert 'slot_probe' not in found  # either slot is chosen as often


def test_the_slots_give_it_away_where_the_chosen_is_first():
  texts, items, label = planted(lambda t: str([t]), side='rejected', share=0.5)
  ordered = np.where(label[:, None] == 1, items, items[:, ::-1])
  assert 'slot_probe' in alarms(texts, ordered, np.ones(len(items)))


def test_a_mark_is_named_with_its_side():
  made = planted(lambda t: t + '\u200b', side='chosen', share=0.4)
  rows = {row['control']: row for row in leaks.rows(*made)}
  assert rows['mark_probe']['mark'] == 'hidden characters: chosen'
  assert rows['mark_probe']['value'] == 1


def test_a_text_with_a_mark_counts_once_however_often_it_is_judged():
  """One joke that everybody likes says nothing of its quotes."""
  words = [f'{chr(97 + i % 26)}{i}' for i in range(40)]
  texts = ['"a" nice joke.'] + [f'{word} nice joke.' for word in words]
  items = np.stack([np.zeros(400, int), 1 + np.arange(400) % 40], 1)
  mark = leaks.mark_probe(leaks.format_of(texts), items, np.ones(400))
  assert mark.texts == 1
  assert mark.low < leaks.LIMITS['mark_probe']


def test_a_rare_first_word_is_what_is_said():
  """The right answer to one question, of many, is no prefix."""
  texts = [
    f'{"nike" if i < 50 else f"a{i}"} said the dog.' for i in range(1200)
  ]
  items = np.arange(1200).reshape(2, 600).T
  assert leaks.mark_probe(leaks.format_of(texts), items, np.ones(600)) is None
  few = np.concatenate([items[:50]] * 3 + [items[50:100]])
  found = leaks.mark_probe(leaks.format_of(texts), few, np.ones(200))
  assert found.name == "the first word 'nike'"


def test_length_is_not_a_format():
  short, long = 'a b c', ' '.join(['a b c'] * 50)
  np.testing.assert_array_equal(*leaks.format_of([short, long]).values)


def test_a_pair_judged_many_times_tells_nothing_of_itself():
  accuracy = []
  for seed in range(10):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(40, 30))  # enough to know 20 pairs by heart
    items = np.repeat(np.arange(40).reshape(20, 2), 50, axis=0)
    label = np.repeat(rng.integers(0, 2, 20), 50)  # a coin for every pair
    swap = rng.random(len(items)) < 0.5  # in either order
    items[swap] = items[swap, ::-1]
    label = np.where(swap, 1 - label, label)
    accuracy.append(leaks.probe(features, items, label, seed=seed).value)
  assert abs(np.mean(accuracy) - 0.5) < 0.12


def test_texts_of_one_size_and_form_are_no_fault():
  texts = [
    ' '.join(words)
    for words in np.random.default_rng(0).permuted(
      np.tile(['very', 'kind', 'stuff', 'thanks'], (60, 1)), axis=1
    )
  ]
  items = np.arange(60).reshape(30, 2).repeat(4, 0)
  found = leaks.rows(texts, items, np.arange(120) % 3 > 0)
  assert all(np.isfinite(row['value']) for row in found)
  assert not any(row['leak'] for row in found)


def test_a_probe_that_is_always_right_has_an_interval():
  features = np.array([[1.0], [0.0]] * 50)
  items = np.arange(100).reshape(50, 2)
  found = leaks.probe(features, items, np.ones(50))
  assert found.value == found.high == 1
  assert 0.9 < found.low < 1
