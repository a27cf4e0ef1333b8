"""The study of memories: tables by hand, what is told, and its smoke."""

import numpy as np
import pytest

from configs import memories
from experiments.memories import (
  experiment,
  fits,
  nodes,
  page,
  people,
  tables,
  thinking,
  words,
)
from prm_jax import types
from prm_jax.lab import study, units
from prm_jax.systems import personal_adapters
from prm_jax.worlds import personal_histories as histories

RIGHT = {'events_recency': [1, 1, 0.5, 1], 'events_similarity': [0.5] * 4}


def unit(seed, world, **better):
  """A unit of four people, all at a half but where it is said."""
  known = {**RIGHT, **better}
  arrays = {
    f'right|{node}': np.array(known.get(node, [0.5] * 4))
    for node in nodes.NODES
  }
  arrays |= {
    'facts|selected': np.array([1, 0.5, 0.5, 1]),
    'best|read': np.array([1, 1, 1, 0.75]),
    'person': np.arange(4),
  }
  kept = dict.fromkeys(nodes.NODES, 7)
  took = dict.fromkeys(('task', 'dpo', 'simpo', 'input_only', 'distilled'), 2.0)
  record = {'world': world, 'seed': seed, 'bytes': kept}
  record |= {'query_milliseconds': dict.fromkeys(kept, 1.0 + seed)}
  record |= {'training_milliseconds': took, 'hyper': {'task': {'rate': 0.1}}}
  return units.Unit(record, arrays)


MADE = [
  unit(seed, 'drift', another_events=[0.5, 0.5, 0.25, 0.75]) for seed in (0, 1)
]


def test_a_finding_holds_is_reversed_or_open():
  rows = {row['finding']: row for row in tables.signs('drift', MADE)}
  row = rows['recency']
  assert row['lead'] == pytest.approx(3 / 8)
  assert (row['method'], row['over']) == ('events_recency', 'events_similarity')
  assert (row['people'], row['seeds']) == (8, 2)
  limits = {'x': 0.1, 'x_low': 0.01, 'x_high': 0.2}
  assert tables.sign(limits, 'x') == 'holds'
  assert tables.sign({**limits, 'x_low': -0.01}, 'x') == 'open'
  assert tables.sign({'x_low': -0.2, 'x_high': -0.01}, 'x') == 'reversed'
  assert tables.sign({'x_low': None, 'x_high': None}, 'x') == 'open'


def test_bars_are_of_one_world_each_and_reversed_in_the_other():
  def row(world, low, high):
    sides = {'method': 'events_recency', 'over': 'events_similarity'}
    lead = {'lead': (low + high) / 2, 'lead_low': low, 'lead_high': high}
    counts = {'people': 8, 'seeds': 2}
    return {'world': world, 'finding': 'recency', **sides, **lead, **counts}

  rows = [
    row('drift', 0.05, 0.15),
    row('topics', -0.2, -0.1),
    row('stationary', 0, 0),
  ]
  first, second = tables.bars(rows)
  assert first['met']
  assert second['met']
  assert second['claim'] == 'events_similarity above events_recency'
  assert (second['lead_low'], second['lead_high']) == (0.1, 0.2)
  assert not tables.bars([row('topics', 0.1, 0.2)])[0]['met']


def test_accuracies_costs_and_controls_by_hand():
  rows = {row['method']: row for row in tables.accuracies('drift', MADE)}
  row = rows['events_recency']
  assert row['right'] == pytest.approx(3.5 / 4)
  assert (row['bytes_a_person'], row['query_core_milliseconds']) == (7, 1.5)
  assert row['training_core_milliseconds'] == 0
  assert rows['dual_task']['training_core_milliseconds'] == 2
  row = next(
    row
    for row in tables.controls('drift', MADE)
    if row['method'] == 'another_events'
  )
  assert row['at_chance']
  assert row['own_less_other'] == pytest.approx(3 / 8)
  setting = histories.Setting(drift=0.06)
  (row,) = tables.ceilings('drift', setting, MADE)
  assert (row['best'], row['who_read_all']) == ('events_recency', 0.9375)
  assert row['short_of_reading'] == pytest.approx(0.0625)
  assert row['who_knows_everybody'] == histories.best_accuracy(setting)
  (row,) = tables.facts('drift', MADE)
  assert row['facts_right'] == 0.75


def test_every_trace_stands_on_top_of_every_memory():
  rows = tables.thinking('drift', MADE)
  assert len(rows) == len(nodes.BASES) * len(nodes.THOUGHTS)
  lead = {(row['base'], row['trace']): row['lead'] for row in rows}
  assert lead['events', 'selected'] == pytest.approx(-3 / 8)
  assert lead['nothing', 'selected'] == 0
  assert nodes.labelled(nodes.thought('adapter', 'unselected')) == (
    'adapter_and_unselected'
  )
  another = nodes.NODES['dual_and_another']
  assert another.swapped == ('trace',)
  assert (another.recall, another.adapter) == ('recency', 'task')
  known = set(nodes.NODES)
  for mine, other in (words.FINDINGS[name][1:] for name in words.FINDINGS):
    assert {words.NODES[mine], words.NODES[other]} <= known
  assert set(words.OWN) | set(words.OWN.values()) <= known


def test_five_sentences_and_a_picture():
  made = {'signs': tables.signs('drift', MADE)}
  said = experiment.answer(made)
  assert len(said) == 5
  assert said[1].startswith('Recent events above similar ones')
  assert 'people who change (37.5 %' in said[1]
  drawn = page.sections({'tables': made})
  assert [section['title'] for section in drawn] == ['Which holds where']
  assert page.sections({'tables': {}}) == []
  assert experiment.answer({'signs': []}) == []


def test_tables_are_of_all_seeds_and_of_the_parts_that_are_asked_for(tmp_path):
  config = memories.get_config('smoke')
  folder = units.Folder(tmp_path)
  names = list(experiment.STUDY.work(config, folder))
  assert names == [
    *('base-0', 'search-drift-0', 'signs-drift-0', 'lengths-drift-0'),
    *('planted-drift-0', 'stances-drift-0'),
  ]
  with config.unlocked():
    config.parts = ('signs', 'lengths')
  folder.write('signs-drift-0', MADE[0])
  arrays = {
    f'right|{count}|{node}': np.full(4, 0.5)
    for count in (4, 5)
    for node in ('best', 'text')
  }
  arrays['person'] = np.arange(4)
  folder.write('lengths-drift-0', units.Unit({'seed': 0}, arrays))
  made = experiment.STUDY.tables(config, folder)
  assert [row['met'] for row in made['bars']] == [False]  # no interval yet
  assert len(made['lengths']) == 4
  assert made['searched'] == [
    {'world': 'drift', 'seed': 0, 'objective': 'task', 'rate': 0.1}
  ]
  with config.unlocked():
    config.parts = ('lengths',)
  made = experiment.STUDY.tables(config, folder)
  assert made['signs'] == []
  assert len(made['lengths']) == 4


# ----------------------------------------------------------------------- told


def test_what_is_told_is_of_others_and_in_order_of_time():
  rng = np.random.default_rng(0)
  found = thinking.drawn(rng, 3, 5, 6)
  assert found.shape == (3, 5, 4)
  assert (np.diff(found) > 0).all()
  assert found.max() == 5
  found = thinking.drawn(rng, 40, 6, 6, without=True)
  assert not (found == np.arange(6)[:, None]).any()
  assert thinking.drawn(rng, 1, 4, 4, without=True).shape == (1, 4, 3)
  ids = np.arange(12, dtype=np.int32).reshape(1, 6, 2)
  told = thinking.behind(
    types.Tokens(ids, np.ones_like(ids)), np.array([[[0, 4], [1, 5]]])
  )
  np.testing.assert_array_equal(
    told.ids[0], [[0, 1, 8, 9, histories.ASK], [2, 3, 10, 11, histories.ASK]]
  )


def test_lessons_end_with_the_trace_and_the_event_itself():
  given = histories.lived(
    np.random.default_rng(0), 3, histories.Setting(events=6)
  )
  said = histories.statements(given.queries.liked[:, 0])
  trace = types.Tokens(said, np.ones_like(said))
  found = thinking.lessons(np.random.default_rng(1), given.events, trace)
  ids, size = np.asarray(found.tokens.ids)[:, :, 0], histories.LENGTH
  own = histories.texts(given.events)[:, :, 0]
  np.testing.assert_array_equal(ids[:, :, -size:], own)
  np.testing.assert_array_equal(
    ids[:, :, -size - 6 : -size], np.repeat(said[:, None], 6, 1)
  )
  told = ids[:, :, : 4 * size].reshape(3, 6, 4, size)
  places = thinking.drawn(np.random.default_rng(1), 3, 6, 6, without=True)
  expected = own[np.arange(3)[:, None, None], places]
  np.testing.assert_array_equal(told, expected)
  right = thinking.facts(
    types.Tokens(np.pad(said, ((0, 0), (1, 0))), said), given.queries
  )
  np.testing.assert_array_equal(right, 1)


def test_people_of_a_seed_are_in_blocks():
  config = memories.get_config('smoke')
  given = people.world(config, 'drift', 3)
  assert given.events.topic.shape == (12, 6)
  again = people.world(config, 'drift', 3)
  np.testing.assert_array_equal(given.events.value, again.events.value)
  second = people.block(config, given, 1)
  np.testing.assert_array_equal(second.queries.topic, given.queries.topic[4:8])
  few = people.latest(second, 2)
  np.testing.assert_array_equal(few.events.topic, given.events.topic[4:8, -2:])
  held = thinking.held_back(config, 6)
  parts = people.earlier(given.events, held), people.last(given.events, held)
  assert [part.topic.shape[1] for part in parts] == [4, 2]


def test_padding_is_behind_and_masked():
  tokens = types.Tokens(*np.ones((2, 1, 3, 2, 4), np.int32))
  found = fits.padded(personal_adapters.Events(tokens, np.ones((1, 3))), 5)
  np.testing.assert_array_equal(found.mask, [[1, 1, 1, 0, 0]])
  assert found.tokens.ids.shape == (1, 5, 2, 4)
  assert not np.asarray(found.tokens.mask)[:, 3:].any()


def test_the_best_numbers_are_chosen_and_of_equal_ones_the_first(tmp_path):
  rows = [
    {'objective': 'task', 'rate': rate, 'validation': share}
    for rate, share in ((0.1, 0.6), (0.2, 0.8), (0.3, 0.8))
  ]
  rows.append({'objective': 'dpo', 'rate': 0.4, 'beta': 2, 'validation': 0.1})
  folder = units.Folder(tmp_path)
  folder.write('search-drift-0', units.Unit({'rows': rows}, {}))
  found = fits.chosen(memories.get_config('smoke'), folder, 'drift', 0)
  assert found == {'task': {'rate': 0.2}, 'dpo': {'rate': 0.4, 'beta': 2}}
  config = memories.get_config()
  assert len(list(fits.tried(config, 'task'))) == 4
  simpo = list(fits.tried(config, 'simpo'))
  assert len(simpo) == 12
  assert all(hyper['margin'] == hyper['beta'] / 2 for hyper in simpo)


def test_ties_are_a_half():
  scores = np.array([[[1, 0], [0, 1]], [[2, 2], [3, 0]]])
  np.testing.assert_array_equal(fits.right(scores), [0.5, 0.75])


def test_variants():
  assert memories.get_config().seeds == (0, 1, 2, 3, 4)
  with pytest.raises(ValueError, match='unknown variant'):
    memories.get_config('full')


@pytest.mark.slow
def test_smoke(tmp_path):
  """Every part, every node, and the page."""
  config = memories.get_config('smoke')
  assert set(config.parts) == set(memories.PARTS)
  found = study.run(experiment.STUDY, config, tmp_path)
  assert found
  made = found['tables']
  assert {row['method'] for row in made['accuracies']} == set(nodes.NODES)
  assert all(0 <= row['right'] <= 1 for row in made['accuracies'])
  kept = {row['method']: row['bytes_a_person'] for row in made['accuracies']}
  assert kept['nothing'] == 0 < kept['text'] < kept['events_recency']
  assert [row['claim'] for row in made['bars']] == [
    'events_recency above events_similarity'
  ]
  assert {row['events'] for row in made['lengths']} == {4, 5}
  assert {row['trace'] for row in made['facts']} == {
    *('selected', 'unselected', 'generic', 'distilled')
  }
  assert len(made['searched']) == 4
  assert (tmp_path / 'report' / 'index.html').stat().st_size > 10_000
