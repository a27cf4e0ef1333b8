"""Every learner that takes a backbone, frozen, with LoRA and whole."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_jax import registry, toys, types
from prm_jax.models import decoder
from prm_jax.rewards import backbone, factorized, reading
from prm_jax.runtime import train, trees
from prm_jax.systems import inference
from tests.contract import small

KINDS = [
  kind
  for kind, entry in sorted(registry.LEARNERS.items())
  if 'backbone' in inspect.signature(entry.factory).parameters
  # Those write, or read histories: `critics_test` and `summarizers_test`.
  and entry.role not in ('critic', 'summarizer')
]
FAST = ('pref', 'adapter')  # in a default run
CASES = [
  pytest.param(
    kind, trains, marks=[] if (kind, trains) == FAST else [pytest.mark.slow]
  )
  for kind in KINDS
  for trains in backbone.TRAINS
]


def built(kind, trains, **node):
  options = dict(registry.LEARNERS[kind].small().options)
  options |= {'steps': 6} if trains != 'frozen' else {}
  if registry.LEARNERS[kind].role != 'personal' and trains == 'frozen':
    options.pop('steps', None)
  trunk = {
    'config': toys.READER,
    'trains': trains,
    'learning_rate': 1e-2,
    'rank': 2,
    **node,
  }
  node = {'kind': kind, **options, 'backbone': trunk}
  return small.started(registry.build('learner', node))


def test_the_learners_are_there():
  assert {'aggregate', 'lore', 'pal', 'pref', 'rfm', 'vpl'} <= set(KINDS)


@pytest.mark.parametrize(('kind', 'trains'), CASES)
def test_a_backbone_trains_what_it_says(kind, trains):
  world, key = toys.texts(), jax.random.key(0)
  learner = built(kind, trains)
  spec = world.spec._replace(judgements=len(world.data.rows.mask))
  start = trees.flat(learner.init(key, spec).params['reward'])
  state = train.fit(learner, world.data, key=key, spec=world.spec)
  after = trees.flat(state.params['reward'])
  moved = {path for path in after if (after[path] != start[path]).any()}
  part = {'frozen': '', 'adapter': 'adapter', 'whole': 'backbone'}[trains]
  trunk = {p for p in moved if p.split('/')[0] in backbone.PARTS}
  assert all(path.startswith(part) for path in trunk)
  assert bool(trunk) == (trains != 'frozen')
  assert moved - trunk  # the head
  contexts = inference.infer(
    learner.system, state.params, world.data, key=key, people=world.spec.people
  )
  p = inference.predict(learner.system, state.params, contexts, world.data)
  label = world.data.rows.label > 0.5
  assert -np.mean(np.log(np.where(label, p, 1 - p))) < np.log(2)


@pytest.mark.parametrize(
  ('kind', 'trains'),
  [
    pytest.param(
      *(kind, trains),
      marks=[]
      if (kind, trains) == ('aggregate_mlp', 'whole')
      else [pytest.mark.slow],
    )
    for kind in KINDS
    for trains in ('adapter', 'whole')
  ],
)
def test_states_below_the_top_are_read_once(kind, trains, monkeypatch):
  """And a fit on them is the fit that reads texts at every step."""
  world, kinds, read = toys.texts(), [], backbone._read_top

  def spy(node, top, params, texts):
    kinds.append('states' if texts.ids.ndim > texts.mask.ndim else 'tokens')
    return read(node, top, params, texts)

  monkeypatch.setattr(backbone, '_read_top', spy)
  fits, counts = [], []
  for keep in (None, 10**6):
    kinds.clear()
    learner = built(kind, trains, top=1, keep=keep)
    state = train.fit(
      learner, world.data, key=jax.random.key(0), spec=world.spec
    )
    fits.append(trees.flat(state.params))
    counts.append((kinds.count('tokens'), kinds.count('states')))
  for path, leaf in fits[0].items():
    np.testing.assert_allclose(fits[1][path], leaf, rtol=1e-4, atol=1e-5)
  (tokens, none), (less, states) = counts
  assert none == 0
  assert states == tokens - less > 0
  part = {'adapter': 'adapter', 'whole': 'top'}[trains]
  spec = world.spec._replace(judgements=len(world.data.rows.mask))
  start = learner.init(jax.random.key(0), spec).params['reward']
  for name in ('backbone', part):
    same = jax.tree.map(
      lambda a, b: bool((a == b).all()),
      start[name],
      state.params['reward'][name],
    )
    assert any(not leaf for leaf in jax.tree.leaves(same)) == (name == part)


@pytest.mark.slow
@pytest.mark.parametrize(
  'top', [{}, pytest.param({'top': 1, 'keep': 10**6}, marks=pytest.mark.slow)]
)
def test_members_with_adapters_train_on_one_trunk(top):
  world, key, E = toys.texts(), jax.random.key(0), 3
  trunk = {'config': toys.READER, 'trains': 'adapter', 'rank': 2, **top}
  node = {'kind': 'ensemble', 'members': E, 'hidden': (4,), 'steps': 20}
  node |= {'learning_rate': 0.03, 'adapters': True}
  trunk['learning_rate'] = 1e-2
  learner = small.started(
    registry.build('learner', {**node, 'backbone': trunk})
  )
  spec = world.spec._replace(judgements=len(world.data.rows.mask))
  start = trees.flat(learner.init(key, spec).params['reward'])
  state = train.fit(learner, world.data, key=key, spec=world.spec)
  after = trees.flat(state.params['reward'])
  for path, leaf in after.items():
    if path.startswith('backbone/'):
      np.testing.assert_array_equal(leaf, start[path])
      continue
    assert len(leaf) == E
    for e in range(E):  # every member moved, and none as another
      assert (leaf[e] != start[path][e]).any(), path
      assert (leaf[e] != leaf[e - 1]).any(), path
  contexts = inference.infer(
    learner.system, state.params, world.data, key=key, people=world.spec.people
  )
  p = inference.predict(learner.system, state.params, contexts, world.data)
  label = world.data.rows.label > 0.5
  assert -np.mean(np.log(np.where(label, p, 1 - p))) < np.log(2)


def test_no_step_runs_a_frozen_trunk(monkeypatch):
  traces = []
  read = backbone._read

  def spy(*arguments):
    traces.append(1)
    return read(*arguments)

  monkeypatch.setattr(backbone, '_read', spy)
  world = toys.texts()
  learner = built('pref', 'frozen')
  state = train.fit(learner, world.data, key=jax.random.key(0), spec=world.spec)
  (joint,) = (phase for phase in learner.phases if phase.steps)
  assert len(traces) == 1  # one program for the beginnings and the steps
  assert joint.name in ('joint',)
  assert np.isfinite(state.params['reward']['basis']).all()


# ------------------------------------------------------------------- reading


REWARD = backbone.backbone(factorized.factorized(dim=3), toys.READER)
PARAMS = REWARD.init(jax.random.key(0), types.Spec(toys.READER.hidden_size, 1))


def tokens(*rows, side='right'):
  T = max(map(len, rows)) + 1
  ids, mask = np.zeros((2, len(rows), T), np.int32)
  for i, row in enumerate(rows):
    place = slice(0, len(row)) if side == 'right' else slice(T - len(row), T)
    ids[i, place], mask[i, place] = row, 1
  return types.Tokens(ids, mask)


def states(texts):
  return np.asarray(REWARD.features(PARAMS, types.Inputs(texts)))


def alone(row):
  """The state of a text's last token, read without padding."""
  ids = jnp.array([row])
  output = decoder.Decoder(toys.READER).apply(
    PARAMS['backbone'],
    ids,
    jnp.arange(len(row))[None],
    decoder.attended(jnp.ones_like(ids)),
  )
  return np.asarray(output.hidden[0, -1])


TEXTS = [[3, 4, 5], [6, 7], [1, 2, 3, 4, 5]]


@pytest.mark.parametrize('side', ['left', 'right'])
def test_padding_on_either_side_gives_the_same_state(side):
  found = states(tokens(*TEXTS, side=side))
  np.testing.assert_allclose(found, [alone(t) for t in TEXTS], atol=1e-5)


def test_packed_texts_give_the_same_states():
  flat = [t for text in TEXTS for t in text]
  segment = [i for i, text in enumerate(TEXTS) for _ in text]
  end = np.cumsum([len(text) for text in TEXTS]) - 1
  packed = types.Tokens(
    np.array([flat]),
    np.ones((1, len(flat)), int),
    np.array([segment]),
    end=end[None],
  )
  np.testing.assert_allclose(
    states(packed), [alone(t) for t in TEXTS], atol=1e-5
  )
  # Packed texts are read, then gathered.
  inputs = types.Inputs(packed, np.array([[2, 0]]))
  pair = reading.encoded(REWARD, PARAMS, inputs)
  want = np.stack([alone(TEXTS[2]), alone(TEXTS[0])]) @ PARAMS['basis']
  np.testing.assert_allclose(pair[0], want, atol=1e-5)


def test_branches_of_a_shared_prefix_give_the_same_states():
  prefix, one, two = [3, 4, 5], [6, 7], [8]
  packed = types.Tokens(
    np.array([[*prefix, *one, *two]]),
    np.ones((1, 6), int),
    branch=np.array([[0, 0, 0, 1, 1, 2]]),
    end=np.array([[4, 5]]),
  )
  want = [alone([*prefix, *one]), alone([*prefix, *two])]
  np.testing.assert_allclose(states(packed), want, atol=1e-5)


def test_many_texts_are_read_a_block_at_a_time(monkeypatch):
  many = tokens(*(TEXTS * 3))
  whole = states(many)
  monkeypatch.setattr(backbone, '_TEXTS', 4)
  np.testing.assert_allclose(states(many), whole, atol=1e-5)


def test_texts_beside_their_rows_are_those_pointed_at():
  texts = tokens(*(TEXTS * 2))  # more than are pointed at
  index = np.array([[0, 2], [1, 0]])
  beside = jax.tree.map(lambda leaf: leaf[index], texts)
  np.testing.assert_allclose(
    reading.encoded(REWARD, PARAMS, types.Inputs(texts, index)),
    reading.encoded(REWARD, PARAMS, types.Inputs(beside)),
    atol=1e-5,
  )


def test_pretrained_weights_are_given_leaves():
  world = toys.texts()
  weights = jax.tree.map(lambda leaf: leaf + 0.1, PARAMS['backbone'])
  state = train.fit(
    built('pref', 'frozen'),
    world.data,
    key=jax.random.key(0),
    spec=world.spec,
    given=trees.flat(weights, 'params/reward/backbone'),
  )
  jax.tree.map(
    np.testing.assert_array_equal, state.params['reward']['backbone'], weights
  )


def test_a_width_that_does_not_fit_is_named():
  with pytest.raises(ValueError, match='hidden_size 8 gives as many'):
    REWARD.init(jax.random.key(0), types.Spec(5, 1))
  with pytest.raises(ValueError, match="trains 'lora': one of"):
    backbone.given({'config': toys.READER, 'trains': 'lora'})
