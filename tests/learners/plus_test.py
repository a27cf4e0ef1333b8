import jax
import numpy as np
import pytest

from prm_jax import history_rows, toys, types
from prm_jax.learners import plus
from prm_jax.policy import summarizing
from prm_jax.runtime import checkpoint, train, trees
from prm_jax.systems import states

WORLD = toys.summarised(
  update=summarizing.Update(contexts=4, samples=2, pairs=2)
)
SMALL = {'steps': 1, 'learning_rate': 1e-2}
WARM = {
  'language': history_rows.language(4),
  'strangers': history_rows.strangers(4, 2),
  'language_options': {**SMALL, 'warm_up': 0},
  'strangers_options': SMALL,
}


def built(**options):
  learner = plus.plus(**{**WORLD.options, 'steps': 1, **options})
  return learner._replace(init=jax.jit(learner.init, static_argnums=1))


def fit(learner, seed=0, **options):
  return train.fit(
    learner, WORLD.data, key=jax.random.key(seed), spec=WORLD.spec, **options
  )


def moved(before, after, part):
  one, two = (trees.flat(state.params[part]) for state in (before, after))
  return any((one[path] != two[path]).any() for path in one)


def start(learner):
  return learner.init(jax.random.key(0), WORLD.spec)


@pytest.mark.slow
@pytest.mark.parametrize(
  'part', ['summarizer', pytest.param('reward', marks=pytest.mark.slow)]
)
def test_a_frozen_partner_stays_as_it_is(part):
  learner = built(order=(part,))
  before = start(learner)
  # A head of zeros, as it starts, finds every summary equally good.
  ones = np.ones_like(before.params['reward']['weight'])
  reward = {**before.params['reward'], 'weight': ones}
  before = states.with_reward(before, reward)
  after = train.go_on(learner, before, WORLD.data)
  assert moved(before, after, 'user') == (part == 'summarizer')
  assert moved(before, after, 'reward') == (part == 'reward')


@pytest.mark.slow
def test_the_reward_starts_from_the_summariser_that_was_shown():
  learner = built(warm=WARM)
  warm = learner._replace(phases=learner.phases[:1], first=0)
  language = fit(warm)
  seen = {}
  phase = learner.phases[1]

  def begin(state, data):
    state = phase.begin(state, data)
    seen.update(state.params)
    return state

  phases = (learner.phases[0], phase._replace(begin=begin, steps=0))
  fit(learner._replace(phases=phases, first=0))
  for part in (seen['user'], seen['reward']['backbone']):
    jax.tree.map(np.testing.assert_array_equal, part, language.params['user'])
  assert [phase.name for phase in learner.phases] == [
    'language',
    'strangers',
    'both',
  ]


@pytest.mark.slow
def test_rounds_are_written_by_who_began_them_and_go_on_in_the_middle(tmp_path):
  options = {
    'order': ('summarizer', 'reward'),
    'rounds': 2,
    'steps': 2,
    'update': summarizing.Update(
      contexts=4, samples=1, pairs=1, baseline='critic', kl=0.01
    ),
  }
  learner = built(**options)
  rows = []

  def watched(phase):
    def collect(key, state, batch):
      made, figures = phase.collect(key, state, batch)
      rows.append((phase.name, np.asarray(made.rows.summary.ids)))
      return made, figures

    return phase._replace(collect=collect)

  seen = learner._replace(phases=tuple(map(watched, learner.phases)))
  whole = fit(seen)
  # The reward reads what the summariser learned from, step by step.
  names = [name for name, _ in rows]
  assert names == (['summarizer'] * 2 + ['reward'] * 2) * 2
  for first in (0, 4):
    for step in (0, 1):
      one, two = rows[first + step][1], rows[first + 2 + step][1]
      np.testing.assert_array_equal(one, two)
  assert (rows[0][1] != rows[1][1]).any()
  # Three steps and a restart are the same as no restart.
  manager = checkpoint.Checkpoints(tmp_path / 'run')
  fit(learner, manager=manager, save_every=3)
  again = fit(learner, manager=manager, restore_step=3)
  jax.tree.map(np.testing.assert_array_equal, whole.params, again.params)
  constants = whole.constants
  assert isinstance(constants, summarizing.Kept)
  assert set(constants.writer) == {'user', 'critic'}


def test_controls_read_histories_or_nothing_and_learn_alone():
  learner = built(order=('reward',), reads='histories')
  before = start(learner)
  batch, figures = learner.phases[0].collect(
    jax.random.key(0), before, WORLD.data
  )
  rows = batch.rows
  np.testing.assert_array_equal(rows.summary.ids[:, 0], rows.history.ids)
  assert float(figures['silent'].compute()) == 0
  learner = built(order=('reward',), reads='nothing')
  _, figures = learner.phases[0].collect(jax.random.key(0), before, WORLD.data)
  assert float(figures['silent'].compute()) == 1


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    ({'order': ()}, r'order \(\)'),
    ({'order': ('everything',)}, "of \\['both'"),
    ({'order': ('reward', 'reward')}, 'give rounds'),
    ({'steps': {'reward': 1}}, r"steps of \['reward'\], and"),
    ({'reads': 'histories'}, "order is \\('reward',\\)"),
    ({'update': {'baseline': 'mean'}}, "baseline 'mean'"),
    (
      {'warm': {'strangers': len, 'strangers_options': {'rate': 1}}},
      "do not know \\['rate'\\]",
    ),
  ],
)
def test_what_cannot_be_learned_is_refused(given, message):
  with pytest.raises(ValueError, match=message):
    built(**given)


def test_rows_of_the_world():
  rows = WORLD.data.rows
  assert isinstance(rows, summarizing.Contexts)
  assert rows.texts.ids.shape == (toys.PEOPLE, 3, 2, 4)
  prompts, summaries = history_rows.language(5)(jax.random.key(0), None)
  assert prompts.ids.shape == (5, 13)
  assert summaries.ids.shape == (5, 3)
  assert isinstance(summaries, types.Tokens)
