"""What pre-training and the reference add to fine-tuning on rankings.

Rankings are AlpacaEval's judge's. The best answer to a prompt is the
reference; the judged pairs are of the others. Policies and prompts of a test
pair are all held out.
"""

from typing import Any, NamedTuple

import numpy as np

from experiments.policy_discriminators import corpus as corpora
from experiments.policy_discriminators import discrimination
from experiments.policy_discriminators.corpus import Corpus
from prm_jax import types
from prm_jax.data import load, rankings, triples
from prm_jax.models.language_model import LanguageModel
from prm_jax.ops.margins import correct
from prm_jax.runtime import trees

Row = dict[str, Any]


def run(
  config, corpus: Corpus, bar: 'Bar', fold: int, start: types.PyTree
) -> list[Row]:
  """Returns one row a test pair and arm.

  The learning rate of every arm is chosen on a third of the training prompts,
  from the same ones; the fit on the other two thirds is the one that is tested.

  Args:
    config: of the study.
    corpus: AlpacaEval's judged answers, to prompts of no discriminator.
    bar: LLMBar.
    fold: what is held out.
    start: pre-trained params of this fold.
  """
  node, rows = config.ablation, []
  train, validation, test = _rankings(config, corpus, fold)
  cold = discrimination.weights(corpus, node.states_weight)

  def right(params, pairs, reference) -> np.ndarray:
    items = pairs.items(reference=reference)
    return correct(discrimination.margins(params, corpus, items))

  def tried(arm, count, rate):
    """Returns the share of right ones in validation, the rate and params."""
    warm = arm['pretrained']
    learner = discrimination.learner(
      dim=len(start['taste']),
      steps=node.steps,
      learning_rate=rate,
      start='given' if warm else 'random',
      weights=() if warm else cold,
    )
    items = train.items(reference=arm['reference'])[:count]
    params = discrimination.fit(
      learner,
      corpus.pooled,
      discrimination.judgements(items),
      seed=config.seed,
      given=trees.flat(start, 'params/reward') if warm else {},
    )
    score = right(params, validation, arm['reference']).mean()
    return score, rate, params

  writers = corpus.outputs.item_policy[test.items(reference=False)]
  columns = {
    'unit': test.prompt.tolist(),
    'policies': np.array(corpus.outputs.policies)[writers].tolist(),
  }
  for arm in node.arms:
    for count in node.pairs:
      _, rate, params = max(
        (tried(arm, count, rate) for rate in node.learning_rates),
        key=lambda one: one[0],
      )
      where = {**arm, 'fold': fold, 'rankings': count, 'rate': rate}
      rows += _rows(right(params, test, arm['reference']), columns, where)
      rows += bar.rows(params, arm['reference'], where)
  return rows


def _rows(right, columns, where, data='alpaca_eval') -> list[Row]:
  """Returns a row a pair, and whether the better answer scored higher."""
  columns = {**columns, 'right': right.tolist()}
  return [
    {**where, 'data': data, **dict(zip(columns, values, strict=True))}
    for values in zip(*columns.values(), strict=True)
  ]


def _rankings(config, corpus: Corpus, fold: int) -> list[rankings.Rankings]:
  """Returns what fits, what chooses and what tests."""
  node = config.ablation
  held = triples.split(corpus.outputs, fold, config.folds)
  third = held.train_prompts[::3]
  return [
    rankings.draw(
      corpus.outputs,
      baseline=corpora.BASELINE,
      policies=policies,
      prompts=prompts,
      gap=node.gap,
      most=max(node.pairs),
      seed=seed,
    )
    for seed, (policies, prompts) in enumerate(
      (
        (held.train, np.setdiff1d(held.train_prompts, third)),
        (held.train, third),
        (held.test, held.test_prompts),
      )
    )
  ]


class Bar(NamedTuple):
  """LLMBar's pairs as texts of a corpus.

  Attributes:
    pooled: `[M, F]`.
    items: `[n, 3]` rows of better and worse answers, and of the reference; -1
      where there is none.
  """

  pooled: np.ndarray
  items: np.ndarray
  same_prompt: bool = False

  @classmethod
  def load(cls, config, model: LanguageModel) -> 'Bar':
    """Returns the pairs; AlpacaEval's best policy answers some, by prompt."""
    data = config.data.dir or None
    pairs, outputs = load.instruction_pairs(data), load.policy_outputs(data)
    policy = outputs.policies.index(corpora.BASELINE)
    answer = {
      _folded(outputs.prompts[outputs.item_prompt[i]]): outputs.texts[i]
      for i in np.flatnonzero(outputs.item_policy == policy)
    }
    texts = [*pairs.first, *pairs.second]
    prompts = [*pairs.prompts, *pairs.prompts]
    n = len(pairs.prompts)
    items = np.stack([np.arange(n), n + np.arange(n), np.full(n, -1)], 1)
    second = np.asarray(pairs.label) < 0.5
    items[second, :2] = items[second, 1::-1]
    for i, prompt in enumerate(pairs.prompts):
      if _folded(prompt) in answer:
        items[i, 2] = len(texts)
        texts.append(answer[_folded(prompt)])
        prompts.append(prompt)
    return cls(corpora.encode(config, model, prompts, texts)[1], items)

  def rows(self, params: types.PyTree, reference: bool, where: Row):
    """Returns a row a pair: with its reference where there is one."""
    rows: list[Row] = []
    has = np.flatnonzero(self.items[:, 2] >= 0)
    for data, chosen, wide in (
      ('llmbar', np.arange(len(self.items)), 2),
      ('llmbar with a reference', has, 2 + reference),
    ):
      items = self.items[chosen, :wide]
      right = correct(discrimination.margins(params, self, items))
      rows += _rows(right, {'unit': chosen.tolist()}, where, data)
    return rows


def _folded(text: str) -> str:
  return ' '.join(text.lower().split())
