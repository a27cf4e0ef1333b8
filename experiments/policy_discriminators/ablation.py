"""What pre-training and the reference add to fine-tuning on rankings.

Rankings are AlpacaEval's judge's. The best answer to a prompt is the
reference; the judged pairs are of the others. Policies and prompts of a test
pair are all held out.
"""

from typing import Any, NamedTuple

import numpy as np

from experiments.policy_discriminators import corpus, discrimination, training
from prm_jax import types
from prm_jax.data import load, schema
from prm_jax.models.language_model import LanguageModel
from prm_jax.ops.margins import correct

Row = dict[str, Any]
# Arm -> (pre-trained, sees the reference).
ARMS = {
  'pretrained, reference': (True, True),
  'not pretrained, reference': (False, True),
  'not pretrained, no reference': (False, False),
  'pretrained, no reference': (True, False),
}


class Rankings(NamedTuple):
  """Pairs that a judge ranked, with the best answer to their prompt.

  Attributes:
    reference, better, worse: `[n]` rows of texts.
    prompt: `[n]`.
  """

  reference: np.ndarray
  better: np.ndarray
  worse: np.ndarray
  prompt: np.ndarray


def rankings(
  outputs: schema.PolicyOutputs, *, policies: np.ndarray, prompts: np.ndarray,
  gap: float, most: int, seed: int,
) -> Rankings:  # fmt: skip
  """Returns pairs of some policies' answers to some prompts.

  The reference is the best of all judged answers, whoever wrote it: it is
  what a user of the reward supplies. It is in no pair.

  Args:
    outputs: texts and the judge's preferences.
    policies: of the pairs.
    prompts: of the pairs.
    gap: least difference of preferences.
    most: pairs, at random.
    seed: of the choice.
  """
  judge = np.array(outputs.judge, float)
  baseline = outputs.policies.index(corpus.BASELINE)
  judge[outputs.item_policy == baseline] = 0.5
  found: list[tuple[Any, ...]] = []
  allowed = np.isin(outputs.item_policy, policies)
  for prompt in prompts:
    here = np.flatnonzero((outputs.item_prompt == prompt) & np.isfinite(judge))
    if len(here) < 3:
      continue
    best = here[np.argmax(judge[here])]
    others = [i for i in here if allowed[i] and i != best]
    found += [
      (best, a, b, prompt)
      for a in others
      for b in others
      if judge[a] - judge[b] >= gap
    ]
  if not found:
    raise ValueError(f'no pair of answers is {gap} apart: lower ablation.gap')
  table = np.array(found, int)
  rng = np.random.default_rng(seed)
  return Rankings(*table[rng.permutation(len(table))[:most]].T)


def as_rows(pairs: Rankings, *, reference: bool) -> types.Batch:
  """Returns rankings as judgements, with or without the reference."""
  columns = [pairs.better, pairs.worse]
  if reference:
    columns.append(pairs.reference)
  return training.judgements(np.stack(columns, 1))


def run(
  config, found: corpus.Corpus, bar: 'Bar', fold: int,
  start: types.PyTree,
) -> list[Row]:  # fmt: skip
  """Returns one row a test pair and arm.

  The learning rate of every arm is chosen on a third of the training prompts,
  from the same ones; the fit on the other two thirds is the one that is tested.

  Args:
    config: of the study.
    found: AlpacaEval's judged answers, to prompts of no discriminator.
    bar: LLMBar.
    fold: what is held out.
    start: pre-trained params of this fold.
  """
  node, outputs = config.ablation, found.outputs
  held = discrimination.split(found, fold, config.folds)
  third = held.train_prompts[::3]
  rest = np.setdiff1d(held.train_prompts, third)
  sets = {
    name: rankings(
      outputs, policies=policies, prompts=prompts, gap=node.gap,
      most=max(node.pairs), seed=seed,
    )
    for seed, (name, policies, prompts) in enumerate((
      ('train', held.train, rest),
      ('validation', held.train, third),
      ('test', held.test, held.test_prompts),
    ))
  }  # fmt: skip
  cold = {
    'start': 'random',
    'dim': len(start['taste']),
    'weights': discrimination.weights(found, node.states_weight),
  }

  def margins(params, name, reference):
    rows = as_rows(sets[name], reference=reference)
    return training.likeness_margins(params, found.pooled, rows)

  def fitted(arm, count):
    """Returns params of the best learning rate, and that rate."""
    warm, reference = ARMS[arm]
    some = Rankings(*(column[:count] for column in sets['train']))
    tried = []
    for rate in node.learning_rates:
      params = training.fit_likeness(
        found.pooled, as_rows(some, reference=reference), seed=config.seed,
        steps=node.steps, learning_rate=rate,
        **({'given': start} if warm else cold),
      )  # fmt: skip
      right = discrimination.accuracy(margins(params, 'validation', reference))
      tried.append((right, rate, params))
    _, rate, params = max(tried, key=lambda t: t[0])
    return params, rate

  texts = np.stack([sets['test'].better, sets['test'].worse], 1)
  judged = np.array(outputs.policies)[outputs.item_policy[texts]].tolist()
  rows: list[Row] = []
  for arm, (_, reference) in ARMS.items():
    for count in node.pairs:
      params, rate = fitted(arm, count)
      right = correct(margins(params, 'test', reference))
      where = {'fold': fold, 'arm': arm, 'rankings': count, 'rate': rate}
      rows += [
        {
          **where,
          'data': 'alpaca_eval',
          'unit': int(p),
          'right': float(r),
          'policies': pair,
        }
        for p, r, pair in zip(sets['test'].prompt, right, judged, strict=True)
      ]
      rows += bar.rows(params, reference, where)
  return rows


class Bar(NamedTuple):
  """LLMBar's pairs as texts of a corpus.

  Attributes:
    pooled: of first answers, second answers, then references.
    pairs: the data.
    reference: `[n]` row of the reference; -1 where there is none.
  """

  pooled: np.ndarray
  pairs: schema.InstructionPairs
  reference: np.ndarray

  @classmethod
  def load(cls, config, model: LanguageModel) -> 'Bar':
    """Returns the pairs; AlpacaEval's best policy answers some, by prompt."""
    data = config.data.dir or None
    pairs, outputs = load.instruction_pairs(data), load.policy_outputs(data)
    policy = outputs.policies.index(corpus.BASELINE)
    answer = {
      _folded(outputs.prompts[outputs.item_prompt[i]]): outputs.texts[i]
      for i in np.flatnonzero(outputs.item_policy == policy)
    }
    known = [answer.get(_folded(prompt)) for prompt in pairs.prompts]
    with_one = [i for i, text in enumerate(known) if text is not None]
    prompts = [*pairs.prompts, *pairs.prompts]
    prompts += [pairs.prompts[i] for i in with_one]
    texts = [*pairs.first, *pairs.second, *(known[i] or '' for i in with_one)]
    reference = np.full(len(pairs.prompts), -1)
    reference[with_one] = 2 * len(pairs.prompts) + np.arange(len(with_one))
    _, pooled = corpus.encode(config, model, prompts, texts)
    return cls(pooled, pairs, reference)

  def rows(self, params, reference: bool, where: Row) -> list[Row]:
    """Returns one row a pair: with its reference where there is one."""
    found: list[Row] = []
    n = len(self.pairs.prompts)
    label = np.asarray(self.pairs.label) > 0.5
    order = np.stack([np.arange(n), n + np.arange(n)], 1)
    items = np.where(label[:, None], order, order[:, ::-1])
    for data, chosen in (
      ('llmbar', np.arange(n)),
      ('llmbar with a reference', np.flatnonzero(self.reference >= 0)),
    ):
      given = items[chosen]
      if reference and data != 'llmbar':
        given = np.concatenate([given, self.reference[chosen, None]], 1)
      margin = training.likeness_margins(
        params, self.pooled, training.judgements(given)
      )
      found += [
        {**where, 'data': data, 'unit': int(i), 'right': float(r)}
        for i, r in zip(chosen, correct(margin), strict=True)
      ]
    return found


def _folded(text: str) -> str:
  return ' '.join(text.lower().split())
