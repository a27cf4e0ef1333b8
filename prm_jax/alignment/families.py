"""Families of policies made from one set of weights, and what they write.

A policy differs from its family in how tokens are drawn, in what it is told
before the prompt, in a direction added to its hidden states, in low-rank
adapters, or in its weights.
"""

import collections
import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from prm_jax import places, types
from prm_jax.models import decoder, lora, sampling
from prm_jax.models.language_model import LanguageModel

_FORMAT = 1  # of the files that `trajectories` keeps
_REPEATS, _KEPT = 4, 2  # of an n-gram that makes a loop; of it that stay
# Of a sentence or line; not the dot of '1.' in a list.
_ENDING = re.compile(
  r'(?<=[^\d\s])[.!?\u2026\u3002\uff01\uff1f]+["\'\u201d\u2019)\]*]*(?=\s|$)|\n'
)
_WORD = re.compile(r'\S+')


@dataclasses.dataclass(frozen=True, eq=False)
class Policy:
  """How a model's weights are made to write.

  Attributes:
    name: unique in a family.
    temperature: of the draws; 0 takes the likeliest token.
    top_p: mass of the nucleus; 1 is off.
    top_k: likeliest tokens that may be drawn; 0 is off.
    system: what the model is told before the prompt.
    steering: `[L, D]` added to every token's hidden state after each layer.
    adapters: merged into the weights.
    params: a checkpoint of the same configuration; the model's own if None.
  """

  name: str
  temperature: float = 1.0
  top_p: float = 0.9
  top_k: int = 50
  system: str = ''
  steering: types.ArrayLike | None = None
  adapters: lora.Adapters | None = None
  params: types.PyTree | None = None

  def __post_init__(self):
    """Refuses settings out of their range."""
    if not 0 <= self.temperature < float('inf'):
      raise ValueError(f'{self.name}: temperature {self.temperature}')
    if not 0 < self.top_p <= 1:
      raise ValueError(f'{self.name}: top_p {self.top_p} is not in (0, 1]')
    if self.top_k < 0:
      raise ValueError(f'{self.name}: top_k {self.top_k} is negative')


class Trajectories(NamedTuple):
  """What policies wrote: M texts, by policy, then prompt, then sample.

  Attributes:
    texts: M texts, tidied.
    item_prompt: `[M]` int32 row of the prompts.
    item_policy: `[M]` int32 row of `policies`.
    policies: names.
    finished: `[M]` bool, whether the text ended by itself.
  """

  texts: list[str]
  item_prompt: np.ndarray
  item_policy: np.ndarray
  policies: list[str]
  finished: np.ndarray


# ------------------------------------------------------------------- families


def by_decoding(
  temperatures: Sequence[float],
  *,
  top_p: Sequence[float] = (0.9,),
  top_k: Sequence[int] = (50,),
) -> list[Policy]:
  """Returns a policy for each combination of temperature, top-p and top-k."""
  return [
    Policy(f'temperature={t:g} top_p={p:g} top_k={k}', t, p, k)
    for t in temperatures
    for p in top_p
    for k in top_k
  ]


def by_system(systems: Mapping[str, str], **settings: Any) -> list[Policy]:
  """Returns a policy for each of the named system prompts.

  Args:
    systems: name -> what the model is told.
    **settings: of every `Policy`.
  """
  return [
    Policy(f'system={name}', system=system, **settings)
    for name, system in systems.items()
  ]


def by_steering(
  key: types.Key,
  config: decoder.DecoderConfig,
  count: int,
  *,
  layer: int,
  size: float,
  norm: float = 1.0,
  **settings: Any,
) -> list[Policy]:
  """Returns policies steered in random directions after one layer.

  Args:
    key: of the directions.
    config: of the model.
    count: how many.
    layer: 0 for the first, after which the direction is added.
    size: the direction's length, in units of `norm`.
    norm: a typical length of a hidden state there: `hidden_norms` measures it.
    **settings: of every `Policy`.

  Raises:
    ValueError: no such layer.

  References:
    Turner et al. 2023 (activation addition), arXiv:2308.10248.
  """
  L, D = config.num_hidden_layers, config.hidden_size
  if not 0 <= layer < L:
    raise ValueError(f'layer {layer}: from 0 to {L - 1}')
  directions = np.asarray(jax.random.normal(key, (count, D)))
  lengths = np.linalg.norm(directions, axis=1, keepdims=True)
  directions = directions * (size * norm / lengths)
  found = []
  for number, direction in enumerate(directions):
    steering = np.zeros((L, D), np.float32)
    steering[layer] = direction
    name = f'steering={number} layer={layer} size={size:g}'
    found.append(Policy(name, steering=steering, **settings))
  return found


def by_adapters(
  key: types.Key,
  params: types.PyTree,
  count: int,
  *,
  rank: int,
  size: float,
  targets: Sequence[str] = ('query', 'value'),
  **settings: Any,
) -> list[Policy]:
  """Returns policies whose weights are changed at random, at low rank.

  Args:
    key: of the changes.
    params: of the model.
    count: how many.
    rank: of the changes.
    size: Frobenius norm of a kernel's change, in units of the kernel's.
    targets: names of a layer's kernels.
    **settings: of every `Policy`.
  """
  known = lora.kernels(params)
  found = []
  for number in range(count):
    start, end = jax.random.split(jax.random.fold_in(key, number))
    adapters = {}
    plain = lora.init(start, params, rank=rank, targets=targets)
    for place, (name, (a, b)) in enumerate(plain.items()):
      b = jax.random.normal(jax.random.fold_in(end, place), b.shape)
      norms = [
        jnp.linalg.norm(kernel, axis=(1, 2), keepdims=True)
        for kernel in (a @ b, known[name])
      ]
      adapters[name] = lora.Adapter(a, b * size * norms[1] / norms[0])
    label = f'adapter={number} rank={rank} size={size:g}'
    found.append(Policy(label, adapters=adapters, **settings))
  return found


def by_checkpoints(
  checkpoints: Mapping[str, types.PyTree], **settings: Any
) -> list[Policy]:
  """Returns a policy for each of the named sets of weights.

  Args:
    checkpoints: name -> parameters, of one configuration.
    **settings: of every `Policy`.
  """
  return [
    Policy(f'checkpoint={name}', params=params, **settings)
    for name, params in checkpoints.items()
  ]


def mixed(
  key: types.Key,
  model: LanguageModel,
  *,
  temperatures: Sequence[float],
  top_k: Sequence[int],
  systems: Mapping[str, str],
  names: Sequence[str] = (),
  steered: Sequence[tuple[int, float, int]] = (),
  adapted: Sequence[tuple[float, int]] = (),
  rank: int = 4,
  **settings: Any,
) -> list[Policy]:
  """Returns policies that differ in decoding, instructions and weights.

  Args:
    key: of directions and changes.
    model: of all of them.
    temperatures: each with each of `top_k`.
    top_k: likeliest tokens.
    systems: name -> what the model is told.
    names: of policies that differ in nothing else.
    steered: layer, size in units of a hidden state, and count.
    adapted: size in units of a kernel, and count; all kernels are changed.
    rank: of these changes.
    **settings: of every `Policy` but the first ones.
  """
  steer, adapt = jax.random.split(key)
  norms = hidden_norms(model, ['The answer is as follows.'])
  policies = [
    *by_decoding(temperatures, top_k=top_k),
    *by_system(systems, **settings),
    *(Policy(name, **settings) for name in names),
  ]
  for layer, size, count in steered:
    own, norm = jax.random.fold_in(steer, layer), norms[layer]
    policies += by_steering(
      own, model.config, count, layer=layer, size=size, norm=norm, **settings
    )
  targets = tuple(lora.kernels(model.params))
  for size, count in adapted:
    policies += by_adapters(
      adapt,
      model.params,
      count,
      rank=rank,
      size=size,
      targets=targets,
      **settings,
    )
  return policies


def hidden_norms(model: LanguageModel, texts: Sequence[str]) -> np.ndarray:
  """Returns the median length of a hidden state after each layer, `[L]`.

  The median, without each text's first token: decoders park a state of a
  hundred times the others' length there.

  Args:
    model: config, params and tokenizer.
    texts: as the model reads them.
  """
  network: Any = decoder.Decoder(model.config)

  @jax.jit
  def measure(params, ids):
    positions = jnp.arange(ids.shape[1])[None]
    seen = decoder.attended(jnp.ones_like(ids))
    layers = network.apply(params, ids, positions, seen, collect=True).layers
    return jnp.linalg.norm(layers[1:, 0].astype(jnp.float32), axis=-1)

  norms = []
  for text in texts:
    ids = model.tokenizer.encode(text, add_special_tokens=False).ids
    padded = ids + [0] * (-len(ids) % 16)  # after the text, and unseen by it
    found = measure(model.params, jnp.array([padded], jnp.int32))
    norms.append(np.asarray(found)[:, 1 : len(ids)])
  return np.median(np.concatenate(norms, 1), 1)


# --------------------------------------------------------------- trajectories


class _Row(NamedTuple):
  """One text to write."""

  policy: int
  prompt: int
  sample: int
  rendered: str  # what the model reads
  noise: int  # the row id


def trajectories(
  key: types.Key,
  model: LanguageModel,
  policies: Sequence[Policy],
  prompts: Sequence[str],
  *,
  samples: int,
  max_new_tokens: int,
  batch: int = 64,
  folder: Path | None = None,
  template: Callable[[str, str], str] = sampling.chatml,
  stop: Sequence[str] = ('<|im_end|>',),
  dtype: Any = jnp.float32,
) -> Trajectories:
  """Returns texts of every policy for every prompt.

  Policies that share weights are written side by side, in chunks of `batch`
  texts. A text's noise depends on the key, the policy's name, the prompt and
  the sample's number. Texts are tidied (`tidy`).

  Args:
    key: of the draws.
    model: config, params and tokenizer.
    policies: of different names.
    prompts: different texts.
    samples: texts of every policy for every prompt.
    max_new_tokens: after which an unfinished text is cut.
    batch: texts at once.
    folder: where finished chunks are kept as they were written, and found
      again; a file's name hashes all that the chunk depends on.
    template: `(prompt, system) -> what the model reads`.
    stop: tokens that end a text.
    dtype: of the computation.

  Raises:
    ValueError: names or prompts repeat, a steering has not the model's shape,
      or a kept chunk is damaged.
  """
  _check(model.config, policies, prompts)
  rows = _rows(policies, prompts, samples, template)
  groups: dict[tuple[int, int], list[_Row]] = {}
  for row in rows:
    policy = policies[row.policy]
    weights = (id(policy.params), id(policy.adapters))
    groups.setdefault(weights, []).append(row)
  written: dict[_Row, tuple[str, bool]] = {}
  bar = tqdm.tqdm(total=len(rows), desc='trajectories', leave=False)
  with bar:
    for group in groups.values():
      writer = _Writer(
        key,
        model,
        policies,
        group,
        folder,
        {'max_new_tokens': max_new_tokens, 'stop': tuple(stop)},
        dtype,
      )
      # Of one length, and equal prompts together: they are read once.
      group.sort(key=lambda row: (len(row.rendered), row.rendered, row))
      for first in range(0, len(group), batch):
        chunk = group[first : first + batch]
        written |= zip(chunk, writer.chunk(chunk, batch), strict=True)
        bar.update(len(chunk))
  return Trajectories(
    [tidy(*written[row]) for row in rows],
    np.array([row.prompt for row in rows], np.int32),
    np.array([row.policy for row in rows], np.int32),
    [policy.name for policy in policies],
    np.array([written[row][1] for row in rows], bool),
  )


def _check(config, policies, prompts) -> None:
  names = [policy.name for policy in policies]
  for what, values in (('policies', names), ('prompts', prompts)):
    counts = collections.Counter(values)
    repeated = [value for value in values if counts[value] > 1]
    if repeated:
      raise ValueError(f'{what} repeat: {sorted(set(repeated))[:3]}')
  shape = (config.num_hidden_layers, config.hidden_size)
  for policy in policies:
    if policy.steering is not None and policy.steering.shape != shape:
      raise ValueError(
        f'{policy.name}: steering is {policy.steering.shape}, not {shape}'
      )


def _rows(policies, prompts, samples, template) -> list[_Row]:
  rows = []
  for m, policy in enumerate(policies):
    for i, prompt in enumerate(prompts):
      rendered = template(prompt, policy.system)
      for s in range(samples):
        digest = _sha256([policy.name, prompt, s])
        rows.append(_Row(m, i, s, rendered, int(digest[:8], 16)))
  return rows


class _Writer:
  """Writes texts of policies that share weights, or finds them again."""

  def __init__(self, key, model, policies, group, folder, settings, dtype):
    self._key, self._model, self._policies = key, model, policies
    self._folder, self._settings, self._dtype = folder, settings, dtype
    first = policies[group[0].policy]
    self._params, self._adapters = first.params, first.adapters
    self._merged: types.PyTree | None = None
    self._steered = any(
      policies[row.policy].steering is not None for row in group
    )
    self._common = '' if folder is None else self._describe()

  def chunk(self, chunk: list[_Row], batch: int) -> list[tuple[str, bool]]:
    """Returns the text of every row, and whether it ended by itself."""
    if self._folder is None:
      return self._write(chunk, batch)
    path = self._folder / f'{self._name(chunk)}.json'
    if path.exists():
      return _load(path, len(chunk))
    found = self._write(chunk, batch)
    texts, finished = zip(*found, strict=True)
    _save(path, {'texts': texts, 'finished': finished})
    return found

  def _write(self, chunk, batch):
    if self._merged is None:
      self._merged = self._weights()
    chosen = [self._policies[row.policy] for row in chunk]
    shift = None
    if self._steered:
      config = self._model.config
      plain = np.zeros((config.num_hidden_layers, config.hidden_size))
      shift = np.stack(
        [plain if p.steering is None else p.steering for p in chosen], 1
      ).astype(np.float32)
    found = sampling.write(
      self._key,
      self._model._replace(params=self._merged),
      [row.rendered for row in chunk],
      temperature=np.array([p.temperature for p in chosen]),
      top_p=np.array([p.top_p for p in chosen]),
      top_k=np.array([p.top_k for p in chosen]),
      row_ids=np.array([row.noise for row in chunk], np.uint32),
      shift=shift,
      batch=batch,
      dtype=self._dtype,
      progress=False,
      **self._settings,
    )
    return list(zip(found.texts, found.finished.tolist(), strict=True))

  def _weights(self) -> types.PyTree:
    params = self._model.params if self._params is None else self._params
    if self._adapters is not None:
      return lora.merge(params, self._adapters)
    return params

  def _describe(self) -> str:
    """Returns a hash of all that the texts of every row depend on."""
    params = self._model.params if self._params is None else self._params
    return _sha256(
      [
        _FORMAT,
        jax.random.key_data(self._key).tolist(),
        str(jax.random.key_impl(self._key)),
        self._model.config.described(),
        self._model.tokenizer.to_str(),
        _digest(params),
        _digest(self._adapters),
        self._settings,
        jnp.dtype(self._dtype).name,
      ]
    )

  def _name(self, chunk: list[_Row]) -> str:
    used = {row.policy: self._policies[row.policy] for row in chunk}
    described = {
      number: [p.temperature, p.top_p, p.top_k, _digest(p.steering)]
      for number, p in used.items()
    }
    return _sha256(
      [
        self._common,
        *([row.rendered, row.noise, described[row.policy]] for row in chunk),
      ]
    )


def _sha256(value: Any) -> str:
  text = json.dumps(value, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def _digest(tree: types.PyTree) -> str:
  """Returns a hash of arrays, their names, shapes and types."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    array = np.ascontiguousarray(leaf)
    what = (jax.tree_util.keystr(path), array.dtype.name, array.shape)
    digest.update(repr(what).encode())
    digest.update(array.tobytes())
  return digest.hexdigest()


def _load(path: Path, count: int) -> list[tuple[str, bool]]:
  """Returns a chunk's texts, and whether each ended by itself."""
  try:
    known = json.loads(path.read_text(encoding='utf-8'))
    found = list(zip(known['texts'], known['finished'], strict=True))
    if len(found) != count:
      raise ValueError(f'{len(found)} texts, not {count}')
    for text, finished in found:
      if not isinstance(text, str) or not isinstance(finished, bool):
        raise TypeError(f'{text!r} and {finished!r}')
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(
      f'{path} is damaged ({error}): delete it, its texts are written anew'
    ) from error
  return found


def _save(path: Path, chunk: Mapping[str, Any]) -> None:
  with places.whole_file(path) as file:
    file.write(json.dumps(chunk, ensure_ascii=False).encode())


# ----------------------------------------------------------------------- tidy


def tidy(text: str, finished: bool) -> str:
  """Returns a text with its loop shortened, or its unfinished end cut.

  A loop is words at the end that are repeated four times or more; two stay,
  and the text ends there. Otherwise a text that was cut by the limit loses
  its last sentence or line, unless that one ended, or is the only one.

  Args:
    text: as a model wrote it.
    finished: whether it ended by itself.

  References:
    Dou et al. 2025 (POLAR), arXiv:2507.05197, appendix D.
  """
  text = text.strip()
  end = _loop_end(text)
  if end is None and not finished:
    # The limit may have cut the last word.
    end = _loop_end(text[: text.rfind(' ')] if ' ' in text else text)
  if end is not None:
    return text[:end]
  if finished:
    return text
  endings = [match.end() for match in _ENDING.finditer(text)]
  return text[: endings[-1]].rstrip() if endings else text


def _loop_end(text: str) -> int | None:
  """Returns where the second of a loop's repeats ends; None if no loop."""
  words = list(_WORD.finditer(text))
  names = [word.group() for word in words]
  for n in range(1, len(names) // _REPEATS + 1):
    start = len(names) - n
    while start > 0 and names[start - 1] == names[start - 1 + n]:
      start -= 1
    if len(names) - start >= _REPEATS * n:
      return words[start + _KEPT * n - 1].end()
  return None
