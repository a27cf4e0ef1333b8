"""The study of new wording: templates that are drawn anew, tables, a run."""

import json
from typing import NamedTuple

import jax
import numpy as np
import pytest

from configs import wording
from experiments.wording import experiment, tables, templates, trained, words
from prm_jax import adapting, types
from prm_jax.lab import fitting, study
from prm_jax.models import embeddings, features, lora, reduce, token_states
from prm_jax.rewards import backbone, scalar
from prm_jax.worlds import attributes
from tests import checkpoints


def test_every_marker_of_new_wording_is_found_in_its_texts():
  world = attributes.simulate(
    population='gaussian',
    seed=0,
    people=2,
    answers=5,
    held_out_answers=5,
    responses_per_prompt=2,
    held_out_responses=3,
  )
  known = templates.markers(words.NEW_WORDING)
  assert known.count == 96
  assert known.share == pytest.approx(7 / 8)
  regime = np.array([p.regime for p in world.prompts])[world.response_prompt]
  new = np.flatnonzero(regime == 'new_lexicon')
  found = templates.counts([world.responses[i] for i in new], known)
  # Two poles of each attribute, in the order of the levels' columns.
  pole = np.array([known.stratum[t] for t in known.template])
  for k in range(6):
    signed = [found[:, pole == 2 * k + side].sum(1) for side in (0, 1)]
    np.testing.assert_array_equal(
      signed[0] - signed[1], world.levels[new, 1 + k]
    )


MARKERS = templates.Markers(
  ('a', 'b1', 'b2', 'c', 'd'), np.array([0, 1, 1, 2, 3]), np.array([0, 0, 1, 1])
)


def test_templates_are_drawn_within_their_attribute_and_pole():
  draws = np.array(list(templates.redrawn(MARKERS, 400, 0)))
  assert np.isin(draws[:, :3], (0, 1, 2)).all()
  assert np.isin(draws[:, 3:], (3, 4)).all()
  # A template of one sentence stands in for both of another's.
  assert (draws[:, 1] == draws[:, 2])[draws[:, 1] == 0].all()
  assert ((draws[:, 1:3] == (1, 2)).all(1) == (draws[:, 1] == 1)).all()
  share = (draws[:, 0] == 0).mean()
  assert 0.4 < share < 0.6
  again = np.array(list(templates.redrawn(MARKERS, 400, 0)))
  np.testing.assert_array_equal(draws, again)


def test_judgements_under_other_templates_by_hand():
  present = np.array([[1, 0, 0, 0, 0], [0, 0, 1, 1, 0]], np.float32)
  score = np.array([[1.0, -1], [2, -2], [3, -3], [0, 0], [-5, 5]])
  # As written 'a' loses against 'b2 c' by 2 for the first person.
  margin, label = np.array([-2.0, 2.0]), np.array([0, 1])
  user, items = np.array([0, 1]), np.array([[0, 1], [0, 1]])
  same, swapped = np.arange(5), np.array([1, 0, 0, 4, 3])
  found = templates.correct(
    margin, label, user, items, present, score, [same, swapped]
  )
  # 'b1' for 'a' and 'a d' for 'b2 c': 2 against 1 - 5, so both turn round.
  np.testing.assert_array_equal(found, [[True, True], [False, False]])
  assert templates.counts(['a. b2. a.'], MARKERS).sum() == 0
  dotted = templates.Markers(('a.', 'b.'), np.arange(2), np.zeros(2, int))
  np.testing.assert_array_equal(
    templates.counts(['a. x! b. a.', 'c.'], dotted), [[2, 1], [0, 0]]
  )


def gap(low):
  return {
    **{'set': 'last_both', 'method': 'pref', 'split': words.NEW_WORDING},
    **{'difference': 0.15, 'difference_low': low, 'difference_high': 0.2},
    'baseline': wording.BASELINE,
  }


def test_a_bar_that_is_missed_is_said():
  shares = [
    {'set': name, 'method': 'pref', 'split': split, 'share': value}
    | {'share_low': value - 0.02, 'share_high': value + 0.02}
    for name in ('sentences', 'last_both')
    for split, value in ((words.SHARED, 0.85), (words.NEW_WORDING, 0.7))
  ]
  for low, met in ((0.06, True), (0.04, False)):
    made = {'shares': shares, 'differences': [gap(low)]}
    made['bars'] = tables.bars(wording.BARS, shares, [gap(low)])
    assert [row['met'] for row in made['bars']].count('no') == (not met)
    assert len(made['bars']) == 4  # the encoder has none
    said = ' '.join(tables.answer(made))
    assert ('Not shown' in said) == (not met)
    assert '70.0 % [68.0, 72.0]' in said
    assert f'+15.0 [{100 * low:+.1f}, +20.0]' in said


def test_variants_are_checked_and_the_rule_stands_in_the_configuration():
  with pytest.raises(ValueError, match='unknown variant'):
    wording.get_config('demo')
  full = wording.get_config('full')
  sets = full.attributes.features
  assert sets.last_both.layers == (16, 26)
  assert {len(full.search.aggregate.ridge)} == {
    len(full.search.pref.basis_ridge)
  }
  assert 'features' not in full.search.pref
  whole = wording.get_config('whole').attributes
  assert set(whole.features) == {
    *('sentences', 'last_both', 'whole_both', 'whole_upper')
  }
  assert whole.features.whole_both.unit == 'text'
  assert whole.responses_per_prompt < full.attributes.responses_per_prompt


@pytest.mark.parametrize(
  'unit', [pytest.param('sentence', marks=pytest.mark.slow), 'text']
)
def test_what_starts_to_train_reads_what_is_frozen(tmp_path, unit):
  known = ['tea', 'milk', 'hot', 'cold', '.']
  folder = checkpoints.write(tmp_path, known, num_hidden_layers=3)
  source = features.Source(backbone=folder, cache_dir=tmp_path / 'states')
  texts = ['tea hot. milk.', 'cold. tea. tea hot.', 'milk', 'hot milk tea.']
  reading = token_states.Reading(unit, 'last', (2,))
  states = source.states(reading)
  columns = reduce.principal_components(
    source.read(texts, reading), np.arange(4), 3, whiten=False
  )
  plan = adapting.parse('lora:1:2')
  model = trained.lowest(states.model, 2)
  node = adapting.backbone_of(plan, model.config)
  parts = [embeddings.sentences(text) for text in texts]
  if unit == 'text':
    parts = [[text] for text in texts]
  length = np.arange(4.0, dtype=np.float32)[:, None]
  read = trained.Texts(node, model.params, states, parts, length)
  params = {
    'columns': {
      'mean': np.float32(columns.mean),
      'matrix': np.float32(columns.directions / columns.scale),
    },
    **backbone.split(model.params, 1),
  }
  params['backbone'] = params.pop('top')
  params['adapter'] = lora.init(jax.random.key(0), params['backbone'], rank=2)
  one = backbone.under(scalar.linear(), node).features
  chosen = np.array([2, 0, 3, 1])
  found = trained.summed(one, params, read(chosen))
  want = columns(source.read(texts, reading))[chosen]
  np.testing.assert_allclose(found[:, :3], want, atol=1e-3)
  np.testing.assert_array_equal(found[:, 3:], length[chosen])
  # The factors are in it: another b is another text.
  params['adapter'] = {
    name: of._replace(b=of.b + 0.5) for name, of in params['adapter'].items()
  }
  other = trained.summed(one, params, read(chosen))
  assert np.abs(other - found)[:, :3].max() > 1e-2


def test_a_batch_holds_all_that_was_said_of_its_prompts():
  items = np.array([[0, 1], [2, 3], [0, 1], [4, 5], [1, 0]])
  judged = fitting.judgements(np.arange(5), items, [1, 0, 1, 0, 0])
  names = ['a', 'a', 'b', 'b', 'c', 'c']
  holds = trained.Batches(
    Said(judged, names), np.array([0, 1, 3, 4]), 2, lambda texts: texts
  )
  assert len(holds) == 2
  seen = []
  for step in range(2):
    batch = holds.batch(step)
    real = batch.rows.mask > 0
    assert len(real) == 1024
    assert len(batch.inputs.value) == 64
    texts = batch.inputs.value[batch.inputs.index[real]]
    np.testing.assert_array_equal(texts, items[batch.rows.example_id[real]])
    said = {names[text] for text in texts[:, 0]}
    assert len(said) == (2, 1)[step]
    seen += batch.rows.example_id[real].tolist()
  assert sorted(seen) == [0, 1, 3, 4]  # row 2 was not chosen


class Said(NamedTuple):
  """What `Batches` reads of a problem."""

  judged: types.Batch
  prompt_ids: list[str]


@pytest.mark.slow
def test_the_study_runs_and_its_draws_agree_with_what_was_predicted(tmp_path):
  (tmp_path / 'model').mkdir()
  known = ['the', 'a', 'is', 'it', 'of', 'and', 'to', 'you', 'please', '.']
  config = wording.get_config('smoke').unlock()
  config.language.model = str(checkpoints.write(tmp_path / 'model', known))
  found = study.run(experiment.STUDY, config, tmp_path / 'run')
  shares = found['tables']['shares']
  assert len(shares) == (4 * 2 + len(trained.ARMS)) * 2
  for row in shares:
    assert row['share_low'] <= row['share'] <= row['share_high']
  new = [row for row in shares if row['split'] == words.NEW_WORDING]
  assert all(row['templates_standard_error'] > 0 for row in new)
  trains = {row['set']: row for row in found['tables']['training']}
  assert trains['adapted_head']['tokens'] > trains['frozen_head']['tokens'] == 0
  # Both start from one fit, which the layers read as the frozen columns do.
  starts = [row['before'] for row in trains.values()]
  assert starts[0] == pytest.approx(starts[1], abs=1e-4)
  less = {
    (row['set'], row['baseline']) for row in found['tables']['differences']
  }
  assert {('adapted', 'last_upper'), ('adapted_beside', 'last_both')} <= less
  assert ('adapted_head', 'frozen_head') in less
  costs = {row['set']: row for row in found['tables']['costs']}
  assert costs['last_both']['layers'] == 2
  assert costs['last_both']['new_units'] > 400
  assert costs['last_both']['new_tokens'] > costs['last_both']['new_units']
  same_margins(tmp_path / 'run')
  page = (tmp_path / 'run' / 'report' / 'index.html').read_text()
  assert 'What carries to new words' in page


def same_margins(run):
  """With no template exchanged, the draws say what the method predicted."""
  cells = run / 'cells'
  name = 'attributes_gaussian-text-seed0-fold0'
  with np.load(cells / f'{name}.last_both-pref.npz') as made:
    margin = made['margin']
    predicted = made['new_lexicon|all|']
  sure = np.abs(predicted - 0.5) > 1e-3
  assert sure.sum() > 100
  np.testing.assert_array_equal((margin > 0)[sure], (predicted > 0.5)[sure])
  assert json.loads((run / 'results.json').read_text())['study'] == 'wording'


@pytest.mark.slow
def test_real_people_choose_between_answers(tmp_path, real_data):
  (tmp_path / 'model').mkdir()
  config = wording.get_config('real').unlock()
  config.data.dir = str(real_data)
  config.language.model = str(
    checkpoints.write(tmp_path / 'model', ['the', 'a', 'is', 'it', '.'])
  )
  config.features.last_upper.layers = (2,)
  config.features.last_both.layers = (1, 2)
  config.methods.pref.steps = 3
  found = study.run(experiment.STUDY, config, tmp_path / 'run')
  gains = found['tables']['real_gains']
  less = [(row['method'], row['baseline_method']) for row in gains]
  # Each against one model for everyone, and two against the encoder, twice.
  assert less.count(('pref', 'aggregate')) == 3 * 2
  assert less.count(('pref', 'pref')) == less.count(('aggregate',) * 2) == 4
  for row in gains:
    assert row['people'] > 50
    assert row['smallest_detectable_gain'] > 0.005
  said = ' '.join(found['answer'])
  assert said.count('would likely have been found') == 4
