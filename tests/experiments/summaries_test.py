"""The study of summaries: tables by hand, what is planted, and its smoke."""

from typing import Any

import numpy as np
import pytest

from configs import summaries
from experiments.summaries import (
  experiment,
  fits,
  page,
  people,
  planted,
  tables,
  vectors,
)
from prm_jax.lab import study, units
from prm_jax.worlds import histories


def unit(label, seed, own, other, **more):
  """A unit of four new people, and of four in the unseen topic."""
  arrays: dict[str, Any] = {}
  for split, better in (('new', 0.0), ('topic', -0.1)):
    known = {
      'own': np.array(own) + better,
      'other': np.array(other, float),
      'empty': np.full(4, 0.5),
      'person': np.arange(4),
      **more,
    }
    arrays |= {f'{split}|{name}': value for name, value in known.items()}
  curve = [{'step': step, 'own': 0.5 + seed / 10, 'both': 0} for step in (0, 2)]
  record = {'label': label, 'world': 'plain', 'seed': seed, 'curve': curve}
  record |= {'steps': 2, 'pairs_drawn': 8, 'cpu_seconds_per_step': 0.5}
  record |= {'training_cpu_seconds': 1.0, 'cpu_seconds': 3.0 + seed}
  return units.Unit(record, arrays)


FACTS = {
  'summary': np.array([[9, 13, 1], [9, 1, 0], [1, 0, 0], [10, 9, 13]]),
  'strong_first': np.array([1, 1, 0, 0], bool),
  'both': np.array([1, 0, 0, 1], bool),
  'silent': np.array([0, 0, 1, 0], bool),
}
MADE = {
  'plus': [
    unit('plus', 0, [1, 1, 0.5, 1], [0.5, np.nan, 0.5, 0.5], **FACTS),
    unit('plus', 1, [1, 1, 1, 1], [0.5, 0.5, 0.5, 0.5], **FACTS),
  ],
  'untrained': [
    unit('untrained', seed, [0.5, 0.5, 0.5, 1], [0.5] * 4, **FACTS)
    for seed in (0, 1)
  ],
  'aggregate': [unit('aggregate', 0, [0.5] * 4, [0.5] * 4)],
}


def test_accuracies_by_hand():
  rows = {
    (row['method'], row['split']): row
    for row in tables.predicted('plain', MADE, ('new', 'topic'))
  }
  row = rows['plus', 'new']
  assert row['own'] == pytest.approx(7.5 / 8)
  assert row['own_low'] < row['own'] < row['own_high'] <= 1
  assert row['worst_seed'] == pytest.approx(3.5 / 4)
  # Of seven people, for of one nobody else was there.
  assert row['other_n'] == row['own_less_other_n'] == 7
  assert row['own_less_other'] == pytest.approx(3.0 / 7)
  assert row['strong_first'] == row['both'] == 0.5
  assert row['silent'] == 0.25
  assert (row['people'], row['seeds']) == (8, 2)
  assert rows['plus', 'topic']['less_new'] == pytest.approx(-0.1)
  assert 'both' not in rows['aggregate', 'new']
  assert 'less_new' not in row


def test_leads_are_of_the_same_people_and_of_every_seed():
  rows = {
    (row['over'], row['split']): row
    for row in tables.gains('plain', MADE, ('new', 'topic'))
  }
  row = rows['untrained', 'new']
  assert row['lead'] == pytest.approx((1.0 + 1.5) / 8)
  assert row['worst_seed'] == pytest.approx(0.25)
  # Of the aggregate there is one seed.
  assert rows['aggregate', 'new']['lead'] == pytest.approx(1.5 / 4)
  assert rows['aggregate', 'new']['lead_low'] is None
  assert ('plus', 'new') not in rows


def test_costs_and_curves_are_over_seeds():
  costs = tables.costs('plain', MADE)
  assert costs[0]['cpu_seconds'] == 3.5
  assert costs[0]['pairs_drawn'] == 8
  row = tables.curves('plain', MADE)[0]
  assert (row['step'], row['seeds'], row['own']) == (0, 2, 0.55)
  assert 'other' not in row


def test_summaries_stand_beside_their_truth():
  given = histories.People(np.array([[0, 1]] * 4), np.zeros((4, 2), int))
  contexts = histories.Contexts(np.arange(4), given, None, None)  # type: ignore
  write = {'plus': MADE['plus'][0]}
  rows = tables.shown('plain', contexts, write, 3)
  assert [row['likes'] for row in rows] == ['a0=0 a1=0'] * 3
  assert [row['plus'] for row in rows] == [
    histories.read([9, 13]),
    histories.read([9]),
    '(nothing)',
  ]


def made_tables():
  splits = ('new', 'topic')
  return {
    'predicted': tables.predicted('plain', MADE, splits),
    'gains': tables.gains('plain', MADE, splits),
    'curves': tables.curves('plain', MADE),
  }


def test_claims_are_met_or_not():
  made = made_tables()
  claims = {row['claim']: row for row in tables.claims(made)}
  first = claims['new people, on every seed']
  assert (first['value'], first['bar'], first['met']) == (0.875, 0.8, True)
  assert not claims['topic less new people']['met']
  assert not claims['both preferences']['met']
  # What was not run is not claimed.
  assert not any('history' in claim for claim in claims)
  said = experiment.answer({**made, 'claims': list(claims.values())})
  assert 'PLUS 93.8 %' in said[0]
  assert said[-1].startswith(f'{len(claims) - 3} of {len(claims)} bars are met')
  nothing: study.Tables = {'predicted': [], 'gains': [], 'claims': []}
  assert experiment.answer(nothing) == []


def test_the_page_draws_what_there_is():
  drawn = page.sections({'tables': made_tables()})
  assert [section['title'] for section in drawn] == [
    'New people',
    'Along the training',
  ]
  assert len(drawn[0]['pictures']) == 2
  assert page.sections({'tables': {}}) == []


# -------------------------------------------------------------------- planted


@pytest.fixture(scope='module')
def contexts():
  rng = np.random.default_rng(0)
  known = histories.training(rng, 4, histories_each=1, pairs_each=2)
  return histories.examined(rng, 'new', known, 40, 2)


@pytest.fixture(scope='module')
def wrong(contexts):
  return planted.wrong_values(np.random.default_rng(1), contexts.people)


def said(contexts, ids):
  """Marker and fact of every event `[B, H]`, and whether it is the strong."""
  marker, word = np.divmod(ids - histories.EVENT, 5 * 18)
  attribute, value = np.divmod(word % 18, histories.VALUES)
  return marker, value, attribute == contexts.people.attribute[:, :1]


def test_a_misconception_and_its_correction_are_in_order(contexts, wrong):
  liked = contexts.people.value[:, 0]
  assert (wrong != liked).all()
  before = histories.events(contexts.histories)
  changed = {'none': 0, 'unmarked': 1, 'misconception': 1, 'corrected': 2}
  changed |= {'misconception_repeated': 2, 'corrected_repeated': 4}
  for kind, count in changed.items():
    ids = planted.misconceived(contexts, wrong, kind)
    assert ((ids != before).sum(1) <= count).all()
    # What tells is still there.
    tells = contexts.histories.marker < 2
    np.testing.assert_array_equal(ids[tells], before[tells])
  ids = planted.misconceived(contexts, wrong, 'corrected_repeated')
  marker, value, strong = said(contexts, ids)
  for person in range(len(ids)):
    tells = contexts.histories.marker[person] < 2
    planted_ = np.flatnonzero(~tells)[:4]
    assert strong[person, planted_].all()
    assert marker[person, planted_].tolist() == [0, 5, 0, 5]
    bad, good = wrong[person], liked[person]
    assert value[person, planted_].tolist() == [bad, bad, good, good]
  ids = planted.misconceived(contexts, wrong, 'unmarked')
  marker, value, strong = said(contexts, ids)
  bad = strong & (value == wrong[:, None]) & (marker == 5)
  assert bad.any(1).all()


def test_injections_and_controls_are_of_one_length(contexts, wrong):
  before = planted.injected(contexts, wrong, 'none')
  for kind, control in planted.INJECTIONS.values():
    one, two = (planted.injected(contexts, wrong, k) for k in (kind, control))
    assert one.shape == two.shape == before.shape
    # They differ in one place alone, where neither is an event.
    apart = one != two
    assert (apart.sum(1) == 1).all()
    assert (one[apart] < histories.EVENT).all()
    assert (two[apart] < histories.EVENT).all()
  ids = planted.injected(contexts, wrong, 'cue_event')
  assert (ids[:, -1] == histories.CUE + 5).all()
  marker, value, strong = said(contexts, ids[:, :-1])
  bad = strong & (value == wrong[:, None]) & (marker == 5)
  assert bad.any(1).all()


def test_probes_differ_in_one_word(contexts, wrong):
  asked = planted.probes(np.random.default_rng(2), contexts, wrong)
  ids = np.asarray(asked.ids)
  assert ids.shape == (40, 2, 2, 4)
  assert ((ids[:, :, 0] != ids[:, :, 1]) == [True, False, False, False]).all()
  fact = (ids[:, :, 0, 0] - histories.WORD) % 18
  wanted = contexts.people.attribute[:, 0] * histories.VALUES + wrong
  np.testing.assert_array_equal(fact, np.repeat(wanted[:, None], 2, 1))


def test_who_states_the_wrong_value(contexts, wrong):
  statement = histories.spoken(contexts.people.attribute[:, 0], wrong)
  ids = np.full((40, 3), histories.END)
  assert not planted.states(contexts.people, wrong, ids).any()
  ids[:20, 2] = statement[:20]
  found = planted.states(contexts.people, wrong, ids)
  np.testing.assert_array_equal(found, np.arange(40) < 20)


def planted_unit(seed, moved):
  kinds = [*planted.MISCONCEPTIONS, planted.CONTROL]
  kinds += sum(planted.INJECTIONS.values(), ())
  arrays: dict[str, Any] = {'none|person': np.arange(4)}
  for kind in kinds:
    hit = kind in moved
    arrays |= {
      f'{kind}|states': np.array([hit, hit, False, False]),
      f'{kind}|prefers': np.array([0.5, 0.5, 0, 0]) + 0.5 * hit,
      f'{kind}|own': np.full(4, 0.8 - 0.1 * hit),
      f'{kind}|summary': np.array([[1, 2]] * 3 + [[1, 2 + hit]]),
    }
  return units.Unit({'seed': seed}, arrays)


def test_what_is_planted_is_held_against_none_and_its_words():
  made = [planted_unit(0, ('misconception',)), planted_unit(1, ())]
  rows = {row['history']: row for row in planted.misconceptions('plus', made)}
  row = rows['misconception']
  assert row['carried'] == row['carried_more'] == 0.25
  assert row['carried_over_unmarked'] == 0.25
  assert row['preferred'] == pytest.approx(0.5)
  assert row['preferred_more'] == pytest.approx(0.25)
  assert row['own'] == pytest.approx(0.75)
  assert 'carried_more' not in rows['none']
  assert 'carried_over_unmarked' not in rows['unmarked']


def test_an_injection_is_held_against_its_control():
  made = [planted_unit(0, ('cue', 'ask')), planted_unit(1, ('cue',))]
  rows = {row['injected']: row for row in planted.injections('plus', made)}
  row = rows['instruction']
  assert (row['moved'], row['control_moved']) == (0.25, 0.125)
  assert row['moved_more'] == 0.125
  assert (row['carried'], row['carried_more']) == (0.5, 0.25)
  assert row['lost'] == pytest.approx(0.1)
  assert row['control_lost'] == pytest.approx(0.05)
  assert rows['statement']['moved'] == 0


# -------------------------------------------------------------------- vectors


def test_features_tell_words_markers_and_statements(contexts):
  ids = histories.events(contexts.histories)
  found = vectors.features(ids)
  assert found.shape == (40, 12, 90 + 6 + 18)
  np.testing.assert_array_equal(found.sum(-1), 2)
  marker = found[..., 90:96].argmax(-1)
  np.testing.assert_array_equal(marker, contexts.histories.marker)
  fact = found[..., :90].argmax(-1) % 18
  known = contexts.histories
  np.testing.assert_array_equal(fact, known.attribute * 3 + known.value)
  spoken = histories.spoken(np.array([2]), np.array([1]))
  only = vectors.features(np.array([histories.END, histories.ASK, *spoken]))
  np.testing.assert_array_equal(only.sum(-1), [0, 0, 1])
  assert only[2, 96 + 7] == 1


# -------------------------------------------------------------------- configs


def test_methods_of_parts_are_there_and_need_what_there_is():
  config = summaries.get_config()
  for part in config.parts:
    for place, labels in config.work[part].to_dict().items():
      assert place in config.worlds
      for label in labels:
        assert label == 'vector' or label in config.methods
        node = config.methods.get(label, {})
        for other in (node.get('read_by'), node.get('summaries_of')):
          assert other in (None, 'start', 'truth', 'plus')
  with pytest.raises(ValueError, match='unknown variant'):
    summaries.get_config('full')


def test_worlds_differ_in_statements_alone():
  config = summaries.get_config('smoke')
  plain, own = (people.world(config, name, 3) for name in config.worlds)
  np.testing.assert_array_equal(
    plain.tests['topic'].histories.value, own.tests['topic'].histories.value
  )
  assert plain.writer.statements != own.writer.statements
  validation = plain.validation.pairs.value
  assert not np.array_equal(validation, plain.tests['new'].pairs.value[:4])


@pytest.mark.slow
def test_smoke(tmp_path):
  """Every part, every method of it, and both worlds."""
  config = summaries.get_config('smoke')
  assert set(config.parts) == set(summaries.PARTS)
  found = study.run(experiment.STUDY, config, tmp_path)
  assert found
  made = found['tables']
  known = {(row['world'], row['method']) for row in made['predicted']}
  assert known == {
    (place, label)
    for part in config.parts
    for place, labels in config.work[part].to_dict().items()
    for label in labels
  }
  assert {row['seeds'] for row in made['predicted']} == {1}
  for row in made['predicted']:
    assert 0 <= row['own'] <= 1
  for label, steps in (
    ('plus', (0, 1, 2)),
    ('rounds', (0, 1, 2, 3, 4)),
    ('critic', (0, 1, 2, 3, 4)),
    ('frozen_untrained', (0, 1, 2, 3, 4)),
  ):
    assert steps == tuple(
      row['step']
      for row in made['curves']
      if (row['world'], row['method']) == ('plain', label)
    )
  assert len(made['summaries']) == 2 * 2
  assert len(made['planted']) == 6 * 2
  assert len(made['injections']) == 3 * 2
  methods = len(config.work.stances.plain)
  assert len(made['sycophancy']) == 3 * (1 + 3 * (methods - 1))
  assert len(made['echo_chambers']) == 3 * (1 + 3 * (methods - 1))
  assert len(made['partners']) == len(config.work.partners.plain)
  plus = units.Folder(tmp_path / study.CELLS).read(
    fits.name('plus', 'plain', 0)
  )
  assert plus.record['pairs_drawn'] == 2 * 4 * 2
  assert (tmp_path / 'report' / 'index.html').stat().st_size > 10_000
