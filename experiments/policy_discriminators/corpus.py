"""Texts of many policies, with what the discriminator reads of them."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from prm_jax.alignment import closeness
from prm_jax.alignment import policies as families
from prm_jax.data import load, schema, splits, triples
from prm_jax.models import lora
from prm_jax.models.language_model import LanguageModel
from prm_jax.models.weights import cache

# What the same weights are told, so that they write in other ways.
SYSTEMS = {
  'brief': 'Answer in as few words as possible.',
  'child': 'You explain everything to a child of five, with simple words.',
  'formal': 'You are a formal academic. Write long, precise sentences.',
  'lists': 'Always answer with a numbered list.',
  'pirate': 'You are a pirate and talk like one.',
  'excited': 'You are wildly excited about everything! Use exclamation marks!',
  'questions': 'Answer every question with further questions.',
  'story': 'Answer by telling a short story.',
}
BASELINE = 'gpt4_1106_preview'  # judged against; its preference is 1/2
NULL = 'NullModel'  # writes the same text, whatever it is asked
_TEMPERATURE = 0.8  # of policies that differ in other ways
TWINS = ('twin_a', 'twin_b')  # one policy twice: nothing tells them apart


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


def read(
  config, model: LanguageModel, outputs: schema.PolicyOutputs, **drawing: Any
) -> Corpus:
  """Returns the texts with their features, and how triples are drawn."""
  prompts = [outputs.prompts[p] for p in outputs.item_prompt]
  features, pooled = encode(config, model, prompts, outputs.texts)
  return Corpus(outputs, features, pooled, drawing)


def encode(
  config, model: LanguageModel, prompts: Sequence[str], texts: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
  """Returns hidden states `[M, T, F]` of texts, and one vector each."""
  answers = list(map(closeness.Answer, prompts, texts))
  folder = cache.cache_folder() / 'hidden_states'
  states = closeness.read(model, config.reading, answers, folder)
  return states, closeness.pool(states, texts)


def real(config, model: LanguageModel) -> Corpus:
  """Returns AlpacaEval's policies on some prompts that all answered."""
  outputs = load.policy_outputs(config.data.dir or None)
  chosen = _answered(outputs)[: config.prompts]
  outputs = select(outputs, np.isin(outputs.item_prompt, chosen))
  return read(config, model, outputs, same=triples.SERVINGS)


def judged(config, model: LanguageModel) -> Corpus:
  """Returns AlpacaEval's judged answers to prompts that `real` has not."""
  outputs = load.policy_outputs(config.data.dir or None)
  first = config.prompts
  chosen = _answered(outputs)[first : first + config.ablation.prompts]
  known = np.isin(outputs.item_prompt, chosen)
  known &= np.isfinite(outputs.judge)
  known |= _by(outputs, BASELINE) & np.isin(outputs.item_prompt, chosen)
  return read(config, model, select(outputs, known), same=triples.SERVINGS)


def _answered(outputs: schema.PolicyOutputs) -> np.ndarray:
  """Returns prompts that every policy answered, in the order of a hash."""
  everybody = len(outputs.policies)
  count = np.bincount(outputs.item_prompt, minlength=len(outputs.prompts))
  answered = np.flatnonzero(count == everybody)
  return answered[np.argsort(_order(outputs, answered))]


def _by(outputs: schema.PolicyOutputs, policy: str) -> np.ndarray:
  return outputs.item_policy == outputs.policies.index(policy)


def select(
  outputs: schema.PolicyOutputs, chosen: np.ndarray
) -> schema.PolicyOutputs:
  """Returns some of the texts; prompts and policies keep their numbers."""
  return dataclasses.replace(
    outputs,
    texts=[outputs.texts[i] for i in np.flatnonzero(chosen)],
    item_prompt=outputs.item_prompt[chosen],
    item_policy=outputs.item_policy[chosen],
    judge=outputs.judge[chosen],
  )


def _order(outputs, prompts) -> list[int]:
  """Returns a random number of every prompt, by hash."""
  names = [outputs.prompt_ids[p] for p in prompts]
  return splits.bucket(names, 'policy_discriminators', 1 << 30).tolist()


def parts(outputs: schema.PolicyOutputs, count: int) -> np.ndarray:
  """Returns the part `[prompts]` of every prompt; -1 where no text is left."""
  present = np.unique(outputs.item_prompt)
  found = np.full(len(outputs.prompts), -1)
  order = present[np.argsort(_order(outputs, present))]
  found[order] = np.arange(len(order)) % count
  return found


def generated(config, model: LanguageModel, domain: str) -> Corpus:
  """Returns what a family of policies made of one set of weights wrote.

  Args:
    config: of the study.
    model: the weights.
    domain: 'chat' (AlpacaEval's instructions) or 'arithmetic' (word
      problems).
  """
  node = config.generated
  if domain == 'chat':
    known = load.policy_outputs(config.data.dir or None)
    asked = [p for p in known.prompts if len(p) <= node.longest]
  else:
    known_problems = load.arithmetic_problems(config.data.dir or None)
    asked = [p for p in known_problems if len(p) <= node.longest]
  order = np.argsort(splits.bucket(asked, domain, 1 << 30), kind='stable')
  asked = [asked[i] for i in order[: node.prompts]]
  wrote = families.trajectories(
    jax.random.key(node.seed), model, family(node, model), asked,
    samples=node.samples, max_new_tokens=node.tokens, batch=node.batch,
    folder=cache.cache_folder() / 'trajectories',
  )  # fmt: skip
  names = [hashlib.sha256(text.encode()).hexdigest()[:12] for text in asked]
  outputs = schema.PolicyOutputs(
    texts=wrote.texts,
    item_prompt=wrote.item_prompt,
    prompts=asked,
    prompt_ids=names,
    topics=[domain] * len(asked),
    policies=list(wrote.policies),
    item_policy=wrote.item_policy,
    judge=np.full(len(wrote.texts), np.nan, np.float32),
  )
  return read(config, model, outputs, same_prompt=True)


def family(node, model: LanguageModel) -> list[families.Policy]:
  """Returns the policies: decoding, instructions, steering and adapters.

  Args:
    node: `temperatures`, `top_k`, `systems`, `steered` (layer, size, count),
      `adapted` (size, count) and `seed`.
    model: the weights.
  """
  steer, adapt = jax.random.split(jax.random.key(node.seed + 1))
  norms = families.hidden_norms(model, ['The answer is as follows.'])
  found = [
    *families.by_decoding(node.temperatures, top_k=node.top_k),
    *families.by_system(
      dict(list(SYSTEMS.items())[: node.systems]), temperature=_TEMPERATURE
    ),
    *(families.Policy(name, temperature=_TEMPERATURE) for name in TWINS),
  ]
  for layer, size, count in node.steered:
    found += families.by_steering(
      jax.random.fold_in(steer, layer), model.config, count, layer=layer,
      size=size, norm=norms[layer], temperature=_TEMPERATURE,
    )  # fmt: skip
  for size, count in node.adapted:
    found += families.by_adapters(
      adapt, model.params, count, rank=4, size=size,
      targets=tuple(lora.kernels(model.params)), temperature=_TEMPERATURE,
    )  # fmt: skip
  return found
