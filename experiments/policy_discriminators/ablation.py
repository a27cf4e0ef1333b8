"""What pre-training and the reference add to fine-tuning on rankings.

Rankings are AlpacaEval's judge's. The best answer to a prompt is the
reference; the judged pairs are of the others. Policies and prompts of a test
pair are all held out.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.policy_discriminators import corpus as corpora
from experiments.policy_discriminators import discrimination
from prm_jax import types
from prm_jax.data import load, rankings
from prm_jax.lab import fitting
from prm_jax.models.language_model import LanguageModel
from prm_jax.ops.margins import correct
from prm_jax.runtime import trees

Row = dict[str, Any]


class Asked(NamedTuple):
  """Pairs of texts of which one is better.

  Attributes:
    pooled: `[M, F]` of the texts.
    items: `[n, 2]` better and worse answers, or `[n, 3]` with the reference,
      which arms that use none are not shown.
    rows: n, what is known of the pairs.
  """

  pooled: np.ndarray
  items: np.ndarray
  rows: Sequence[Row]
  same_prompt: bool = False

  def right(self, params: types.PyTree, reference: bool) -> np.ndarray:
    """Returns whether better answers score higher, `[n]`; a tie is a half."""
    items = self.items[:, : 2 + reference]
    return correct(discrimination.margins(params, self, items))


def run(inputs, number: int) -> list[Row]:
  """Returns one row a test pair and arm.

  The learning rate of every arm is chosen on a third of the training prompts,
  from the same ones; the fit on the other two thirds is the one that is tested.

  Args:
    inputs: of all units, an `experiment.Inputs`.
    number: of the fold.
  """
  fold, rows = inputs.fold('judged', number), list[Row]()
  start, _ = inputs.discriminator('alpaca_eval', number)
  node = fold.config.ablation
  train, validation, test = _rankings(fold)
  cold = discrimination.weights(fold.corpus, node.states_weight)

  def tuned(arm, count, rate) -> types.PyTree:
    learner = discrimination.learner(
      dim=len(start['taste']),
      steps=node.steps,
      learning_rate=rate,
      start='given' if arm['pretrained'] else 'random',
      weights=cold,
    )
    items = train.items[:count, : 2 + arm['reference']]
    judged = fitting.judgements(0, items, 1).over(train.pooled)
    given = trees.flat(start, 'params/reward') if arm['pretrained'] else {}
    return discrimination.fit(learner, judged, fold.config.seed, given=given)

  for arm, count in itertools.product(node.arms, node.pairs):
    tried = [tuned(arm, count, rate) for rate in node.learning_rates]
    right = [validation.right(one, arm['reference']).mean() for one in tried]
    best = int(np.argmax(right))
    rate = node.learning_rates[best]
    where = {**arm, 'fold': number, 'rankings': count, 'rate': rate}
    for asked in (test, *inputs.llmbar()):
      found = asked.right(tried[best], arm['reference']).tolist()
      rows += [
        {**where, **row, 'right': right}
        for row, right in zip(asked.rows, found, strict=True)
      ]
  return rows


def _rankings(fold: discrimination.Fold) -> list[Asked]:
  """Returns what fits, what chooses and what tests."""
  outputs, held, node = fold.corpus.outputs, fold.held, fold.config.ablation

  def drawn(seed, policies, prompts) -> Asked:
    ranked = rankings.draw(
      outputs,
      baseline=corpora.BASELINE,
      policies=policies,
      prompts=prompts,
      gap=node.gap,
      most=max(node.pairs),
      seed=seed,
    )
    items = ranked.items(reference=True)
    writers = np.array(outputs.policies)[outputs.item_policy[items[:, :2]]]
    rows = [
      {'data': 'alpaca_eval', 'unit': int(prompt), 'policies': pair}
      for prompt, pair in zip(ranked.prompt, writers.tolist(), strict=True)
    ]
    return Asked(fold.corpus.pooled, items, rows)

  third = held.train_prompts[::3]
  return [
    drawn(0, held.train, np.setdiff1d(held.train_prompts, third)),
    drawn(1, held.train, third),
    drawn(2, held.test, held.test_prompts),
  ]


def llmbar(config, model: LanguageModel) -> list[Asked]:
  """Returns LLMBar's pairs, and again those that have a reference.

  AlpacaEval's best policy answers some of the prompts.

  Args:
    config: of the study.
    model: whose frozen layers read.
  """
  data = config.data.dir or None
  pairs, outputs = load.instruction_pairs(data), load.policy_outputs(data)
  policy = outputs.policies.index(corpora.BASELINE)
  answer = {
    _folded(outputs.prompts[outputs.item_prompt[i]]): outputs.texts[i]
    for i in np.flatnonzero(outputs.item_policy == policy)
  }
  n, asked = len(pairs.prompts), pairs.prompts
  known = [i for i in range(n) if _folded(asked[i]) in answer]
  references = [answer[_folded(asked[i])] for i in known]
  prompts = [*asked, *asked, *(asked[i] for i in known)]
  texts = [*pairs.first, *pairs.second, *references]
  _, pooled = corpora.encode(config, model, prompts, texts)
  items = np.arange(2 * n).reshape(2, n).T
  second = np.asarray(pairs.label) < 0.5
  items[second] = items[second, ::-1]
  shown = np.column_stack([items[known], 2 * n + np.arange(len(known))])
  every = [{'data': 'llmbar', 'unit': i} for i in range(n)]
  some = [{'data': 'llmbar with a reference', 'unit': i} for i in known]
  return [Asked(pooled, items, every), Asked(pooled, shown, some)]


def _folded(text: str) -> str:
  return ' '.join(text.lower().split())
