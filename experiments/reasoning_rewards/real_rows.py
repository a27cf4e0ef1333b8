"""Rows of real data for judges of texts: pairs of answers, single chains."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from prm_jax.data import load, splits
from prm_jax.rewards import generative, judge_formats

LLMBAR, MISTAKE, LLMFAO = 'llmbar', 'bigbench_mistake', 'llmfao'
_OUTSIDE = 'Processed/'  # LLMBar's copies of other sets: trained on alone


class People(NamedTuple):
  """What people, and two language models, chose on pairs.

  Attributes:
    user: `[c]` of each strict choice.
    row: `[c]` of the pair.
    label: `[c]` 1 where the first answer was chosen, else 0.
    judges: name -> `[n]` label of a language model, 1/2 for a tie.
  """

  user: np.ndarray
  row: np.ndarray
  label: np.ndarray
  judges: Mapping[str, np.ndarray]


class Rows(NamedTuple):
  """Pairs of answers to a question; or chains, one to a question.

  Attributes:
    name: of the data.
    items: n, all of two answers or all of one.
    label: `[n]` 1 where the first answer is better, or the chain right; 0;
      1/2 where people have no majority.
    group: n names of subsets or tasks.
    tested: `[n]` bool; rows that are not are trained on alone.
    length: `[n, K]` characters of the answers, whole; of chains as shown.
    people: what people chose, if there are several.
  """

  name: str
  items: list[generative.Item]
  label: np.ndarray
  group: list[str]
  tested: np.ndarray
  length: np.ndarray
  people: People | None = None

  @property
  def pairs(self) -> bool:
    """Whether an item has two answers."""
    return len(self.items[0].responses) == 2

  @property
  def prompt(self) -> np.ndarray:
    """`[n]` which question: those that differ by case and spaces are one."""
    names = [splits.plain(item.query) for item in self.items]
    return np.unique(names, return_inverse=True)[1]


class Parts(NamedTuple):
  """A fold: `[n]` bool of rows that train, that choose, and that are tested."""

  train: np.ndarray
  validation: np.ndarray
  test: np.ndarray


def parts(rows: Rows, count: int, every: int, seed: int) -> Iterator[Parts]:
  """Yields folds in which no question is in two parts.

  Args:
    rows: n.
    count: folds; every tested row is tested in one.
    every: one in so many of the other rows chooses, and does not train.
    seed: gives another deal.
  """
  names = [str(number) for number in rows.prompt]
  fold = splits.folds(names, count, f'real{seed}')
  for k in range(count):
    others = np.flatnonzero(fold != k)
    inner = splits.folds(
      [names[row] for row in others], every, f'validation{seed}-{k}'
    )
    validation = np.zeros(len(names), bool)
    validation[others[inner == 0]] = True
    yield Parts(
      (fold != k) & ~validation, validation, (fold == k) & rows.tested
    )


def read(name: str, node: Any, tokenizer: Tokenizer, seed: int) -> Rows:
  """Returns the rows of real data, as a config's `real` has them.

  Args:
    name: of the data.
    node: `data_dir`, `cut` and `most`, which says how many are drawn.
    tokenizer: texts are cut at so many of its tokens.
    seed: of the draw.
  """
  rng = np.random.default_rng([seed, 0x4EA1])
  return _SOURCES[name](node, tokenizer, rng)


def _llmbar(node, tokenizer, rng) -> Rows:
  known = load.instruction_pairs(node.data_dir or None)
  own = np.array([not name.startswith(_OUTSIDE) for name in known.subset])
  outside = rng.permutation(np.flatnonzero(~own))[: node.most.outside]
  rows = np.sort(np.concatenate([np.flatnonzero(own), outside]))
  pairs = [(known.first[i], known.second[i]) for i in rows]
  return Rows(
    LLMBAR,
    items([known.prompts[i] for i in rows], pairs, tokenizer, node.cut),
    known.label[rows].astype(float),
    [known.subset[i] for i in rows],
    own[rows],
    _lengths(pairs),
  )


def _llmfao(node, tokenizer, rng) -> Rows:
  judged = load.judgements('llmfao', data_dir=node.data_dir or None)
  judges = load.llmfao_judges(node.data_dir or None)
  if not np.array_equal(judged.items, judges.items[judges.pair]):
    raise ValueError('llmfao: people and judges saw pairs in other orders')
  chosen = np.sort(rng.permutation(len(judges.items))[: node.most.pairs])
  place = np.full(len(judges.items), -1)
  place[chosen] = np.arange(len(chosen))
  row = place[judges.pair]
  strict = (judged.label != 0.5) & (row >= 0)
  pair_of = judges.items[chosen]
  pairs = [(judged.texts[a], judged.texts[b]) for a, b in pair_of]
  prompts = [judged.prompts[judged.item_prompt[a]] for a, _ in pair_of]
  label = judged.label[strict].astype(float)
  votes = np.bincount(row[strict], 2 * label - 1, minlength=len(chosen))
  return Rows(
    LLMFAO,
    items(prompts, pairs, tokenizer, node.cut),
    (np.sign(votes) + 1) / 2,
    [LLMFAO] * len(chosen),
    np.ones(len(chosen), bool),
    _lengths(pairs),
    People(
      judged.user[strict],
      row[strict],
      label,
      dict(zip(judges.names, judges.label[:, chosen], strict=True)),
    ),
  )


def _mistakes(node, tokenizer, rng) -> Rows:
  """Chains as far as they are shown: right if the first mistake is not there.

  A first mistake says of the steps before it that they are right.
  """
  known = load.reasoning_chains(node.data_dir or None)
  tasks = np.array(known.tasks)
  rows = np.sort(
    np.concatenate(
      [
        rng.permutation(np.flatnonzero(tasks == task))[: node.most.chains]
        for task in np.unique(tasks)
      ]
    )
  )
  counts = [shown(known.steps[i], tokenizer, node.cut) for i in rows]
  there = [(i, count) for i, count in zip(rows, counts, strict=True) if count]
  texts = [('\n'.join(known.steps[i][:count]),) for i, count in there]
  right = [not 0 <= known.mistake[i] < count for i, count in there]
  return Rows(
    MISTAKE,
    items([known.prompts[i] for i, _ in there], texts, tokenizer, node.cut),
    np.array(right, float),
    [known.tasks[i] for i, _ in there],
    np.ones(len(there), bool),
    _lengths(texts),
  )


_SOURCES: dict[str, Callable[..., Rows]] = {
  LLMBAR: _llmbar,
  MISTAKE: _mistakes,
  LLMFAO: _llmfao,
}


def shown(steps: Sequence[str], tokenizer: Tokenizer, cut: int) -> int:
  """Returns how many steps of a chain are within a number of tokens.

  Args:
    steps: a line each.
    tokenizer: of the judge.
    cut: the number.
  """
  lengths = [
    len(found.ids)
    for found in tokenizer.encode_batch(
      [f'{step}\n' for step in steps], add_special_tokens=False
    )
  ]
  return int(np.searchsorted(np.cumsum(lengths), cut, side='right'))


def items(
  queries: Sequence[str],
  answers: Sequence[Sequence[str]],
  tokenizer: Tokenizer,
  cut: int,
) -> list[generative.Item]:
  """Returns what is judged, as judges read it: every text cut alike.

  Args:
    queries: n.
    answers: n, of one or two.
    tokenizer: of the judge.
    cut: tokens of a text.
  """
  found = []
  for i, (query, each) in enumerate(zip(queries, answers, strict=True)):
    # The question is cut as an answer is.
    item = generative.Item('', (query, *each))
    query, *each = generative.readable(i, item, tokenizer, cut=cut).responses
    found.append(generative.Item(query, tuple(each)))
  return found


def _lengths(answers: Sequence[Sequence[str]]) -> np.ndarray:
  return np.array([[len(text) for text in each] for each in answers])


# ------------------------------------------------------- what a decoder reads


def llama3(messages: judge_formats.Messages) -> str:
  """Returns messages in the template of Llama 3, and the assistant's turn.

  Args:
    messages: roles and contents.
  """
  turn = '<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>'
  return '<|begin_of_text|>' + ''.join(
    [turn.format(*each) for each in messages]
    + ['<|start_header_id|>assistant<|end_header_id|>\n\n']
  )


# Name -> template, and what ends a turn.
TEMPLATES = {
  'chatml': (judge_formats.chatml, '<|im_end|>'),
  'llama3': (llama3, '<|eot_id|>'),
}


class Texts(NamedTuple):
  """What a decoder reads of rows.

  Attributes:
    ids: M texts that differ, as token ids.
    which: `[n, K]` numbers of texts: of answers alone, an answer each; of a
      judge's prompts, both orders of a pair, the given one first, or the one
      chain's.
    verdict: tokens of 'the first' (or 'right') and of the other verdict, which
      would stand behind a judge's prompt; None of answers alone.
  """

  ids: list[np.ndarray]
  which: np.ndarray
  verdict: tuple[int, int] | None


def alone(
  given: Sequence[generative.Item], tokenizer: Tokenizer, template: str
) -> Texts:
  """Returns every answer with its question, to the end of its turn."""
  write, end = TEMPLATES[template]
  words = [
    [write([('user', item.query)]) + text + end for text in item.responses]
    for item in given
  ]
  known, index = _unique(words)
  return Texts(_encode(tokenizer, known), index, None)


def judged(
  given: Sequence[generative.Item],
  tokenizer: Tokenizer,
  form: judge_formats.Format,
  template: str,
) -> Texts:
  """Returns a judge's prompts, as far as where its verdict would follow.

  Raises:
    ValueError: the verdicts are no two tokens, the same behind every prompt.
  """
  write, _ = TEMPLATES[template]
  words = []
  for item in given:
    orders = [item.responses]
    if form.responses == 2:
      orders.append(item.responses[::-1])
    asked = [form.messages(item.query, order) for order in orders]
    words.append([write(each) + form.opening + form.cue for each in asked])
  known, index = _unique(words)
  sides = [
    _encode(tokenizer, [text + choice for text in known])
    for choice in form.choices
  ]
  ids, verdicts = [], set()
  for first, second in zip(*sides, strict=True):
    least = min(len(first), len(second))
    differ = np.flatnonzero(first[:least] != second[:least])
    at = differ[0] if len(differ) else least
    ids.append(first[:at])
    verdicts.add((*first[at : at + 1].tolist(), *second[at : at + 1].tolist()))
  if len(verdicts) != 1 or len(verdict := verdicts.pop()) != 2:
    raise ValueError(f'{form.name}: verdicts are no two tokens everywhere')
  return Texts(ids, index, (verdict[0], verdict[1]))


def _unique(words: Sequence[Sequence[str]]) -> tuple[list[str], np.ndarray]:
  known: dict[str, int] = {}
  index = [
    [known.setdefault(text, len(known)) for text in each] for each in words
  ]
  return list(known), np.array(index)


def _encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
  found = tokenizer.encode_batch(list(texts), add_special_tokens=False)
  return [np.array(each.ids, np.int32) for each in found]
