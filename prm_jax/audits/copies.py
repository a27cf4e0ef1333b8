"""Copies under other names: texts, people, and the topics that hold them.

What stands on both sides of a split by its name is learned by heart. A text
that is spaced in another way, a person whose rows came in twice, and a debate
under two topics all have names of their own.
"""

import html
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import datasketch
import numpy as np

from prm_jax.data import schema, splits

# Shares of judgements, or of topics, above which copies are reported.
LIMITS = {
  'repeated_judgements': 0.01,
  'copied_people': 0.01,
  'shared_topics': 0.0,
}
_ALIKE = 0.8  # Jaccard index of two sets that are taken for copies
_CANDIDATES = 0.6  # hashing misses some: what is compared is less alike
_HASHES = 64
_WORDS = 8  # fewer say too little to be nearly the same
_SAID = 4  # fewer are often the same by chance
_ANSWERS = 5  # likewise of a person
_SHARED = 0.5  # of the smaller topic's texts
_TOPICS = 20  # a text in more topics is a phrase, not a copy


class Copies(NamedTuple):
  """Who and what is the same; equal numbers are copies of each other.

  Attributes:
    text: `[M]` of every text, the number of the first like it.
    person: `[U]` of every person, likewise.
  """

  text: np.ndarray
  person: np.ndarray


def find(judged: schema.Judgements | schema.Ratings) -> Copies:
  """Returns which texts and people are nearly the same.

  Args:
    judged: judgements, or ratings before they are made pairs.
  """
  text = texts(judged.texts)
  if isinstance(judged, schema.Ratings):
    what, said = text[judged.item], judged.rating
  else:
    same = text[judged.items]
    turned = same[:, 0] > same[:, 1]
    what, said = pairs(same), np.where(turned, 1 - judged.label, judged.label)
  return Copies(text, people(judged.user, what, said))


def texts(found: Sequence[str]) -> np.ndarray:
  """Returns the number `[M]` of the first text with nearly the same words.

  The same words in the same order, whatever stands between them; or, of texts
  of at least eight words, four in five of the pairs of adjacent words.

  Args:
    found: M texts.
  """
  first: dict[str, int] = {}
  words = [_words(text) for text in found]
  group = np.array(
    [first.setdefault(' '.join(w), i) for i, w in enumerate(words)], int
  )
  only = np.array(sorted(first.values()), int)
  sets = [
    {f'{a} {b}'.encode() for a, b in zip(words[i], words[i][1:], strict=False)}
    if len(words[i]) >= _WORDS
    else set()
    for i in only
  ]
  near = only[_alike(sets)]
  return near[np.searchsorted(only, group)] if len(only) else group


def people(user: np.ndarray, what: np.ndarray, said: np.ndarray) -> np.ndarray:
  """Returns the number `[U]` of the first person with nearly the same answers.

  Four in five of all that either said, and at least five answers: people who
  judged the same pairs without knowing each other hardly ever reach that.

  Args:
    user: `[n]` who answered.
    what: `[n]` number of what was asked.
    said: `[n]` the answer.
  """
  sets: list[set[bytes]] = [set() for _ in range(int(user.max()) + 1)]
  for person, asked, answer in zip(
    user.tolist(), what.tolist(), said.tolist(), strict=True
  ):
    sets[person].add(f'{asked}:{answer}'.encode())
  return _alike([s if len(s) >= _ANSWERS else set() for s in sets])


def pairs(items: np.ndarray) -> np.ndarray:
  """Returns the number `[n]` of each row's pair, in either order.

  Args:
    items: `[n, 2]`.
  """
  _, pair = np.unique(np.sort(items, axis=1), axis=0, return_inverse=True)
  return pair.reshape(-1)


def repeated(judged: schema.Judgements, found: Copies) -> np.ndarray:
  """Returns `[n]` True where a person judged these texts in an earlier row.

  Texts of fewer than four words do not count: different people, or models,
  write the same ones.

  Args:
    judged: judgements.
    found: what is the same; a person's copies are other people here.
  """
  pair = pairs(found.text[judged.items])
  rows = judged.user.astype(np.int64) * (pair.max() + 1) + pair
  _, first = np.unique(rows, return_index=True)
  again = np.ones(len(rows), bool)
  again[first] = False
  for row in np.flatnonzero(again):
    said = [_words(judged.texts[item]) for item in judged.items[row]]
    again[row] = min(map(len, said)) >= _SAID
  return again


def shared_topics(
  judged: schema.Texts, text: np.ndarray
) -> list[tuple[str, str]]:
  """Returns topics of which one holds at least half of the other's texts.

  Args:
    judged: texts, their prompts and topics.
    text: `[M]` equal where texts are nearly the same.
  """
  topic = np.array(judged.topics)[judged.item_prompt]
  holds = defaultdict(set)
  for number, name in zip(text.tolist(), topic.tolist(), strict=True):
    holds[number].add(name)
  size = Counter(name for names in holds.values() for name in names)
  both: Counter[tuple[str, str]] = Counter()
  for names in holds.values():
    if 1 < len(names) <= _TOPICS:
      known = sorted(names)
      both.update((a, b) for i, a in enumerate(known) for b in known[i + 1 :])
  return sorted(
    (a, b)
    for (a, b), count in both.items()
    if count >= max(2, _SHARED * min(size[a], size[b]))
  )


def rows(judged: schema.Judgements, found: Copies) -> list[dict[str, Any]]:
  """Returns what is copied as rows of a table, with examples.

  Args:
    judged: judgements.
    found: what is the same, of the same texts and people.
  """
  again = repeated(judged, found)
  copied = found.person != np.arange(len(found.person))
  topics = shared_topics(judged, found.text)
  names = {name for pair in topics for name in pair}

  def example(chosen: np.ndarray, text: str) -> str:
    return text if chosen.any() else ''

  person = int(np.argmax(copied))
  said = {
    'repeated_judgements': (
      float(again.mean()),
      example(again, f'row {int(np.argmax(again)) + 1}'),
    ),
    'copied_people': (
      float(copied[judged.user].mean()),
      example(
        copied,
        f'who judged row {_first(judged.user, person)} and row '
        f'{_first(judged.user, found.person[person])}',
      ),
    ),
    'shared_topics': (
      len(names) / len(set(judged.topics)),
      f'{topics[0][0]!r} and {topics[0][1]!r}' if topics else '',
    ),
  }
  return [
    {
      'control': control,
      'quantity': f'share (copies above {LIMITS[control]:g})',
      'value': value,
      'pairs': len(judged.user),
      'mark': mark,
      'leak': value > LIMITS[control],
    }
    for control, (value, mark) in said.items()
  ]


def _first(user: np.ndarray, person: int) -> int:
  """Returns the number of a person's first row; a name would outlive them."""
  return int(np.argmax(user == person)) + 1


def _words(text: str) -> list[str]:
  plain = splits.plain(html.unescape(text))
  return re.findall(r'\w+', plain) or [plain]


def _alike(sets: Sequence[set[bytes]]) -> np.ndarray:
  """Returns the number `[S]` of the first set that is nearly the same.

  Candidates come from locality-sensitive hashing, so that no set is compared
  with all others. An empty set is like no other.
  """
  group = np.arange(len(sets))
  known = datasketch.MinHashLSH(threshold=_CANDIDATES, num_perm=_HASHES)
  blank = datasketch.MinHash(num_perm=_HASHES)
  for number, members in enumerate(sets):
    if not members:
      continue
    sketch = blank.copy()
    sketch.update_batch(members)
    for other in sorted(known.query(sketch)):
      both = len(members & sets[other])
      if both >= _ALIKE * (len(members) + len(sets[other]) - both):
        group[number] = other
        break
    else:
      known.insert(number, sketch)
  return group
