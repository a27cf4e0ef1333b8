"""Texts of many policies, with what the discriminator reads of them."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from prm_jax.alignment import closeness, families
from prm_jax.data import load, schema, splits, triples
from prm_jax.models.language_model import LanguageModel
from prm_jax.models.weights import cache

BASELINE = 'gpt4_1106_preview'  # judged against; its preference is 1/2
NULL = 'NullModel'  # writes the same text, whatever it is asked
GENERATED = ('chat', 'arithmetic')
TWINS = ('twin_a', 'twin_b')  # one policy twice: nothing tells them apart
_TEMPERATURE = 0.8  # of policies that differ in other ways
_WAYS = ('temperatures', 'top_k', 'steered', 'adapted')


class Corpus(NamedTuple):
  """Texts and their features.

  Attributes:
    outputs: who wrote what to which prompt.
    features: `[M, T, F]` float16, as `hidden_states.encode` left them.
    pooled: `[M, F + G]` float32, one vector a text: mean state and surface.
    drawing: how its triples are drawn, options of `data.triples.draw`.
  """

  outputs: schema.PolicyOutputs
  features: np.ndarray
  pooled: np.ndarray
  drawing: Mapping[str, Any]

  @property
  def same_prompt(self) -> bool:
    """Whether all answers of a triple are to one prompt."""
    return bool(self.drawing.get('same_prompt', False))

  @property
  def states(self) -> np.ndarray:
    """Returns every text's mean hidden state, `[M, F]`."""
    return self.pooled[:, : self.features.shape[2]]

  def draw(self, policies, prompts, per_policy, seed, **options):
    """Returns triples as this corpus' are drawn; see `data.triples.draw`."""
    return triples.draw(
      self.outputs,
      policies=policies,
      prompts=prompts,
      per_policy=per_policy,
      seed=seed,
      **self.drawing,
      **options,
    )


def load_by_name(config, model: LanguageModel, name: str) -> Corpus:
  """Returns texts with their features.

  Args:
    config: of the study.
    model: whose frozen layers read.
    name: 'alpaca_eval'; 'judged', its judged answers to other prompts;
      'vicuna'; 'math'; or one of GENERATED.
  """
  folder, drawing = config.data.dir or None, dict[str, Any](same_prompt=True)
  if name in GENERATED:
    outputs = _generated(config, model, name)
  elif name == 'math':  # eight samples of one policy, against people
    outputs = load.math_samples(folder)
    drawing['references'] = [outputs.policies.index('sampled')]
  elif name == 'vicuna':
    outputs, drawing = load.vicuna_outputs(folder), {}
  else:
    outputs = _alpaca_eval(config, judged=name == 'judged')
    drawing = {'same': triples.SERVINGS}
  read = encode(config, model, outputs.prompt_texts, outputs.texts)
  return Corpus(outputs, *read, drawing)


def _alpaca_eval(config, *, judged: bool) -> schema.PolicyOutputs:
  """Returns answers to prompts that every policy answered, by a hash.

  Those to the first; or, to later ones, the judged and the baseline's.
  """
  outputs = load.policy_outputs(config.data.dir or None)
  count = np.bincount(outputs.item_prompt, minlength=len(outputs.prompts))
  answered = np.flatnonzero(count == len(outputs.policies))
  prompts = triples.in_order(outputs, answered)
  chosen = np.isin(outputs.item_prompt, prompts[: config.prompts])
  if judged:
    asked = prompts[config.prompts :][: config.ablation.prompts]
    by_baseline = outputs.item_policy == outputs.policies.index(BASELINE)
    known = np.isfinite(outputs.judge) | by_baseline
    chosen = known & np.isin(outputs.item_prompt, asked)
  return triples.some(outputs, chosen)


def encode(
  config, model: LanguageModel, prompts: Sequence[str], texts: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
  """Returns hidden states `[M, T, F]` of texts, and one vector each."""
  answers = list(map(closeness.Answer, prompts, texts))
  folder = cache.cache_folder() / 'hidden_states'
  states = closeness.read(model, config.reading, answers, folder)
  return states, closeness.pool(states, texts)


def _generated(
  config, model: LanguageModel, domain: str
) -> schema.PolicyOutputs:
  """Returns what a family of policies made of one set of weights wrote.

  To AlpacaEval's instructions ('chat') or to word problems ('arithmetic').
  """
  node, folder = config.generated, config.data.dir or None
  if domain == 'chat':
    prompts: Sequence[str] = load.policy_outputs(folder).prompts
  else:
    prompts = load.arithmetic_problems(folder)
  asked = [prompt for prompt in prompts if len(prompt) <= node.longest]
  order = np.argsort(splits.bucket(asked, domain, 1 << 30), kind='stable')
  asked = [asked[i] for i in order[: node.prompts]]
  family = families.mixed(
    jax.random.key(node.seed + 1),
    model,
    systems=dict(node.systems),
    names=TWINS,
    temperature=_TEMPERATURE,
    **{name: node[name] for name in _WAYS},
  )
  wrote = families.trajectories(
    jax.random.key(node.seed),
    model,
    family,
    asked,
    samples=node.samples,
    max_new_tokens=node.tokens,
    batch=node.batch,
    folder=cache.cache_folder() / 'trajectories',
  )
  return schema.PolicyOutputs(
    texts=wrote.texts,
    item_prompt=wrote.item_prompt,
    prompts=asked,
    prompt_ids=[hashlib.sha256(p.encode()).hexdigest()[:12] for p in asked],
    topics=[domain] * len(asked),
    policies=list(wrote.policies),
    item_policy=wrote.item_policy,
    judge=np.full(len(wrote.texts), np.nan, np.float32),
  )
