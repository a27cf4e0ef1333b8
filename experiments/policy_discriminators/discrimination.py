"""Telling held-out policies apart on held-out prompts.

By a discriminator alone, and weighed beside plain similarities: where all
answers are to one prompt, what a policy repeats is content, which similarities
of the texts see and a discriminant of styles does not.
"""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.policy_discriminators.corpus import Corpus
from prm_jax import types
from prm_jax.audits import similarities
from prm_jax.data import triples
from prm_jax.lab import fitting
from prm_jax.learners import likeness
from prm_jax.ops import bayes
from prm_jax.ops.margins import correct
from prm_jax.rewards import gaussian_likeness
from prm_jax.runtime import train
from prm_jax.systems import inference

Row = dict[str, Any]
Margins = dict[str, np.ndarray]
OWN = 'polar'
COMBINED = 'polar and similarities'
SPLITS = ('held_out_policies', 'length_matched')
_PRECISION = 1.0  # of the weights of margins in standard deviations
_TUNING = 50  # triples of every training policy, for similarities
learner = functools.lru_cache(maxsize=64)(likeness.likeness)
_reward = functools.lru_cache(maxsize=64)(gaussian_likeness.likeness)


def margins(params: types.PyTree, texts: Any, items: np.ndarray) -> np.ndarray:
  """Returns score(first) - score(second) `[n]` of rows of items.

  Args:
    params: of a discriminator.
    texts: with `pooled` features and `same_prompt`, as a `Corpus`.
    items: `[n, 2 + R]` a pair, and its references.
  """
  rows = fitting.judgements(0, items, 1).over(texts.pooled)
  reward = _reward(dim=len(params['taste']), same_prompt=texts.same_prompt)
  return inference.margins(reward, params, rows)


class Test(NamedTuple):
  """Triples on which policies are told apart.

  Attributes:
    corpus: texts.
    drawn: n triples of them.
    where: columns of their rows: data, split and fold.
  """

  corpus: Corpus
  drawn: triples.Triples
  where: Row

  def margins(self, params: types.PyTree) -> np.ndarray:
    """Returns the margins `[n]` of a discriminator."""
    return margins(params, self.corpus, self.drawn.items)

  def rows(self, margins: Mapping[str, np.ndarray]) -> list[Row]:
    """Returns one row a triple, with the margin of every method.

    Args:
      margins: method -> `[n]`.
    """
    policies = self.corpus.outputs.policies
    prompts = self.corpus.outputs.item_prompt
    names = [self.corpus.outputs.prompt_ids[prompt] for prompt in prompts]
    return [
      {
        **self.where,
        'policy': policies[policy],
        'other': policies[other],
        'reference_prompt': names[reference],
        'prompt': names[positive],
        'margins': {method: float(m[i]) for method, m in margins.items()},
      }
      for i, (reference, positive, _, policy, other) in enumerate(
        zip(*self.drawn, strict=True)
      )
    ]


class Fold(NamedTuple):
  """Texts, and who and what of them is held out.

  Attributes:
    config: of the study.
    corpus: texts.
    held: policies and prompts.
    where: columns of all rows: data and fold.
  """

  config: Any
  corpus: Corpus
  held: triples.Split
  where: Row

  def inner(self) -> list['Fold']:
    """Returns folds of the training policies and prompts alone."""
    count = self.config.likeness.inner_folds
    splits = triples.inner_splits(self.corpus.outputs, self.held, count)
    return [self._replace(held=held) for held in splits]

  def training_triples(self, per_policy: int, seed: int) -> triples.Triples:
    """Returns triples of training policies; half have lengths matched."""
    policies, prompts = self.held.train, self.held.train_prompts
    return triples.joined(*self._drawn(policies, prompts, per_policy, seed))

  def training(self, seed: int) -> types.Batch:
    """Returns such as judgements of their policies, and prompts if of one."""
    drawn = self.training_triples(self.config.likeness.per_policy, seed)
    user, outputs = np.asarray(drawn.policy), self.corpus.outputs
    if self.corpus.same_prompt:
      prompt = outputs.item_prompt[drawn.reference]
      user = user * len(outputs.prompts) + prompt
    return fitting.judgements(user, drawn.items, 1)

  def tests(self) -> dict[str, Test]:
    """Returns split -> triples of held-out policies and prompts."""
    config, held = self.config, self.held
    drawn = self._drawn(
      held.test, held.test_prompts, config.test_per_policy, config.seed + 100
    )
    return {
      split: Test(self.corpus, some, {**self.where, 'split': split})
      for split, some in zip(SPLITS, drawn, strict=True)
    }

  def _drawn(self, policies, prompts, count, seed):
    """Returns triples of any lengths, and with lengths matched."""
    draw = self.corpus.draw
    return [
      draw(policies, prompts, count, seed + matched, length_matched=matched)
      for matched in (False, True)
    ]


# ------------------------------------------------------------ discriminators


def fit(learner, judged: types.Batch, seed: int, **options) -> types.PyTree:
  """Returns the params of a reward fitted to rows.

  Args:
    learner: of the reward.
    judged: rows, and the features `[M, ..., F]` of texts that they point into.
    seed: of start and batches.
    **options: of `runtime.train.fit`.
  """
  spec = types.Spec(judged.inputs.value.shape[-1], 1)
  key = jax.random.key(seed)
  state = train.fit(learner, judged, key=key, spec=spec, **options)
  return state.params['reward']


def pretrained(
  fold: Fold, states: Sequence[float] = ()
) -> tuple[types.PyTree, Row]:
  """Returns a discriminator's params, and how it was chosen.

  Size, shrinkage, the weight of the hidden states, and whether to go on by
  gradient steps are chosen on training policies and prompts that are held out
  in their turn.

  Args:
    fold: texts, and what is held out.
    states: weights of the hidden states that are tried; the study's if empty.
  """
  node, inside, tried = fold.config.likeness, fold.inner(), list[Row]()
  names = 'dim', 'shrinkage', 'states', 'steps'

  def best_of(grid) -> Row:
    """Returns the best of all that has been tried, the first of equals."""
    for values in grid:
      options, right = dict(zip(names, values, strict=True)), []
      for inner in inside:
        params = _fitted(inner, options, 1)
        tests = inner.tests().values()
        right += [correct(test.margins(params)).mean() for test in tests]
      tried.append({**options, 'accuracy': float(np.mean(right))})
    best = max(tried, key=lambda row: row['accuracy'])
    return {name: best[name] for name in names}

  axes = node.dims, node.shrinkages, states or node.states, (0,)
  *closed, _ = best_of(itertools.product(*axes)).values()
  # Gradient steps are tried at the best of the closed forms.
  chosen = best_of([(*closed, steps) for steps in node.steps])
  params = _fitted(fold, chosen, fold.config.seed)
  return params, {'chosen': chosen, 'tried': tried}


def _fitted(fold: Fold, options: Mapping[str, Any], seed: int) -> types.PyTree:
  """Returns params fitted to triples of a fold's training policies."""
  corpus, options = fold.corpus, dict(options)
  chosen = learner(
    weights=weights(corpus, options.pop('states')),
    prompts=len(corpus.outputs.prompts) if corpus.same_prompt else 0,
    **options,
  )
  judged = fold.training(seed).over(corpus.pooled)
  return fit(chosen, judged, fold.config.seed)


def weights(corpus: Corpus, states: float) -> tuple[tuple[int, float], ...]:
  """Returns weights of pooled features: hidden states', and 1 for surface."""
  width = corpus.states.shape[1]
  return (width, states), (corpus.pooled.shape[1] - width, 1.0)


# -------------------------------------------------------------- similarities


def beside(fold: Fold, own: Mapping[str, types.PyTree]) -> dict[str, Margins]:
  """Returns split -> method -> margins `[n]`; see `audits.similarities`.

  Args:
    fold: whose tests they are of.
    own: method -> params, of discriminators that stand beside them.
  """
  tests, seed = fold.tests(), fold.config.seed
  found = similarities.margins(
    fold.corpus.outputs,
    fold.corpus.states,
    {split: test.drawn for split, test in tests.items()},
    held=fold.held,
    tuning=fold.training_triples(_TUNING, seed + _TUNING),
    seed=seed,
  )
  for split, test in tests.items():
    found[split] |= {name: test.margins(params) for name, params in own.items()}
  return found


def with_similarities(
  fold: Fold, params: types.PyTree, options: Mapping[str, Any]
) -> dict[str, Margins]:
  """Returns split -> method -> margins: own, similarities, both weighed.

  The weights are the posterior mode of a logistic regression on the margins of
  inner test triples: of discriminators that were fitted to the other training
  policies, so that what one remembers earns no weight.

  Args:
    fold: its test part is not looked at for the weights.
    params: of its discriminator.
    options: of that, as chosen on the same inner folds.
  """
  names = OWN, *similarities.NAMES
  inside = np.concatenate(
    [
      np.stack([margins[name] for name in names], 1)
      for one in fold.inner()
      for margins in beside(one, {OWN: _fitted(one, options, 1)}).values()
    ]
  )
  scale = inside.std(0) + 1e-9
  ones = jnp.ones(len(inside))
  prior = bayes.isotropic_prior(jnp.zeros(len(names)), _PRECISION**-0.5)
  mode = bayes.posterior_mode(prior, jnp.asarray(inside / scale), ones, ones)
  weights = dict(zip(names, (np.asarray(mode) / scale).tolist(), strict=True))
  found = beside(fold, {OWN: params})
  for margins in found.values():
    both = sum(weight * margins[name] for name, weight in weights.items())
    margins[COMBINED] = np.asarray(both)
  return found
