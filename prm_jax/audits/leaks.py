"""Leak probes: whether format alone tells the two texts of a pair apart.

A personal reward model's public pipeline once embedded the chosen text as a
string and the rejected one as a stringified list; accuracy was near 1. Real
texts differ in format, too, and people have tastes about it, so that no fixed
accuracy says what a leak is. Two things do: format tells much more than the
length of the words alone, or some mark is on the chosen texts, or on the
rejected ones, and hardly ever on the others.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_jax.audits import copies
from prm_jax.data import splits
from prm_jax.ops import bayes, intervals, statistics

# Lower limits above which format is taken to give the answer away: accuracy
# for the slots, which it must not tell apart at all; for taste, accuracy above
# that of the words' length, and how often a mark is on one side alone.
LIMITS = {'slot_probe': 0.52, 'preference_probe': 0.08, 'mark_probe': 0.9}

_RATES = {
  'double quotes': r'"',
  'single quotes': r"'",
  'square brackets': r'[\[\]]',
  'braces': r'[{}]',
  'brackets': r'[()<>]',
  'backslashes': r'\\',
  'line breaks': r'\n',
  'double spaces': r'  +',
  'HTML entities': r'&(?:[a-zA-Z]{2,8}|#\d{1,6}|#x[0-9a-fA-F]{1,5});',
  'HTML tags': r'</?[a-zA-Z][^<>]*>',
  'bullets': r'(?m)^\s*(?:[-*\u2022]|\d{1,2}[.)])\s',
  'marks of emphasis': r'[*_#`~]',
}
_FLAGS = {
  'space first': r'^\s',
  'space last': r'\s$',
  'bracket or quote first': r'^[\[({"\'\u201c\u2018]',
  'bracket or quote last': r'[\])}"\'\u201d\u2019]\s*$',
  'list': r'^\s*[\[{].*[\]}]\s*$',
  'quotes about commas': r'["\'],\s*["\']',
  'capital first': r'^\W*[A-Z]',
  'small letter first': r'^\W*[a-z]',
  'digit first': r'^\W*\d',
  'letter last': r'[^\W\d_]\s*$',
  'digit last': r'\d\s*$',
  'full stop last': r'\.\s*$',
  'ellipsis last': r'(?:\u2026|\.\.)\s*$',
  'question or exclamation mark last': r'[?!]\s*$',
  'comma, colon or dash last': r'[,;:\u2013\u2014-]\s*$',
}
_SENTENCE = re.compile(r'[.!?\u2026]+(?:\s|$)')
_WORD = 'the '  # begins the name of a word that is a mark
_COMMON_WORDS = 20  # first and last words that are marks
_WORD_ROWS = 0.1  # of the rows; a rarer first or last word is what is said
_FOLDS = 5
_RIDGE = 1.0
_REPLICATES = 400
_WIDTH = 96
_MOST = 20_000  # rows that are looked at


class Format(NamedTuple):
  """What format says of texts.

  Attributes:
    names: F.
    values: `[M, F]` rates a character, and flags.
    size: `[M, S]` how long texts are, in letters, words and sentences.
  """

  names: list[str]
  values: np.ndarray
  size: np.ndarray


class Probe(NamedTuple):
  """What a probe found, with its 95 % interval over pairs of texts.

  Attributes:
    value, low, high: accuracy, or accuracy above that of length.
    margin: `[n]` of every row, positive where the first text is told.
  """

  value: float
  low: float
  high: float
  margin: np.ndarray


class Mark(NamedTuple):
  """The mark that is most often on one side alone.

  Attributes:
    name: of the mark.
    value, low, high: share of the texts with it that stand on that side.
    texts: that have it where the other text has not.
    side: 'chosen' or 'rejected'.
  """

  name: str
  value: float
  low: float
  high: float
  texts: int
  side: str


def format_of(texts: Sequence[str]) -> Format:
  """Returns quotes, brackets, ends and hidden characters of each text.

  Rates are per character, so that length is not among them.
  """
  rates = [re.compile(p) for p in _RATES.values()]
  flags = [re.compile(p, re.DOTALL) for p in _FLAGS.values()]
  values = np.array(
    [
      [len(p.findall(text)) / max(len(text), 1) for p in rates]
      + [_hidden(text) / max(len(text), 1)]
      + [float(bool(p.search(text))) for p in flags]
      for text in texts
    ]
  ).reshape(len(texts), len(_RATES) + 1 + len(_FLAGS))
  words = [splits.plain(text).split() for text in texts]
  names = [*_RATES, 'hidden characters', *_FLAGS]
  columns = [values]
  for place, name in ((0, 'first'), (-1, 'last')):
    own = [found[place] if found else '' for found in words]
    common = Counter(own).most_common(_COMMON_WORDS)
    known = [word for word, _ in common if word]
    names += [f'{_WORD}{name} word {word!r}' for word in known]
    columns += [np.array([[w == o] for o in own], float) for w in known]
  size = [
    [
      np.log1p(sum(map(len, found))),
      np.log1p(len(found)),
      np.log1p(len(_SENTENCE.findall(text))),
    ]
    for text, found in zip(texts, words, strict=True)
  ]
  return Format(names, np.concatenate(columns, 1), np.array(size))


def _hidden(text: str) -> int:
  """Returns how many characters of a text a reader does not see."""
  return sum(
    letter == '\ufffd'
    or (letter not in '\n\r\t' and unicodedata.category(letter) in ('Cc', 'Cf'))
    or (letter.isspace() and letter not in ' \n\r\t')
    for letter in text
  )


def slot_probe(found: Format, items: np.ndarray, *, seed: int = 0) -> Probe:
  """Returns how well format tells the first text of a row from the second.

  Args:
    found: of every text.
    items: `[n, 2]` texts of each row.
    seed: of the folds.
  """
  return probe(found.values, items, np.ones(len(items)), seed=seed)


def preference_probe(
  found: Format, items: np.ndarray, label: np.ndarray, *, seed: int = 0
) -> Probe:
  """Returns how much better format and length tell the choice than length.

  Args:
    found: of every text.
    items: `[n, 2]` texts of each row.
    label: `[n]` 1 if the first was chosen, else 0.
    seed: of the folds.
  """
  both = np.concatenate([found.values, found.size], axis=1)
  own = probe(both, items, label, seed=seed)
  plain = probe(found.size, items, label, seed=seed)
  gain = _gain(own.margin, plain.margin, label, copies.pairs(items), 0.0)
  return Probe(*gain, own.margin)


def mark_probe(
  found: Format, items: np.ndarray, label: np.ndarray
) -> Mark | None:
  """Returns the mark that is most surely on one side alone, if there is one.

  A text with the mark counts once, however often it was judged: on the side
  where it was more often, beside a text without the mark.

  Args:
    found: of every text.
    items: `[n, 2]` texts of each row.
    label: `[n]` 1 if the first was chosen, else 0.
  """
  best = None
  has = found.values > 0
  for column, name in enumerate(found.names):
    first, second = has[items[:, 0], column], has[items[:, 1], column]
    rows = np.flatnonzero(first != second)
    least = _WORD_ROWS * len(items) if name.startswith(_WORD) else 1
    if len(rows) < least:
      continue
    text = np.where(first, items[:, 0], items[:, 1])[rows]
    chosen = np.where(first, label, 1 - np.asarray(label))[rows]
    _, place = np.unique(text, return_inverse=True)
    rate = np.bincount(place, chosen) / np.bincount(place)
    for side, share in (('chosen', rate), ('rejected', 1 - rate)):
      count = int((share > 0.5).sum())
      value = intervals.share(count, len(share))
      mark = Mark(name, *value, len(share), side)
      if best is None or mark.low > best.low:
        best = mark
  return best


def rows(
  texts: Sequence[str], items: np.ndarray, label: np.ndarray, *, seed: int = 0
) -> list[dict[str, Any]]:
  """Returns what each probe says of strict judgements, a table row each.

  Args:
    texts: M texts.
    items: `[n, 2]` texts of each row.
    label: `[n]` 1 if the first was chosen, else 0.
    seed: of the rows that are looked at, at most 20,000, and of the folds.
  """
  chosen = np.random.default_rng(seed).permutation(len(items))[:_MOST]
  used, place = np.unique(items[chosen], return_inverse=True)
  items, label = place.reshape(-1, 2), np.asarray(label, float)[chosen]
  found = format_of([texts[i] for i in used])
  probes: dict[str, tuple[str, Probe | Mark | None]] = {
    'slot_probe': ('accuracy', slot_probe(found, items, seed=seed)),
    'preference_probe': (
      'accuracy above that of length',
      preference_probe(found, items, label, seed=seed),
    ),
    'mark_probe': ('share on one side', mark_probe(found, items, label)),
  }
  made = []
  for control, (quantity, said) in probes.items():
    if said is None:
      continue
    mark = f'{said.name}: {said.side}' if isinstance(said, Mark) else ''
    made.append(
      {
        'control': control,
        'quantity': f'{quantity} (a leak above {LIMITS[control]:g})',
        'value': said.value,
        'value_low': said.low,
        'value_high': said.high,
        'pairs': len(items),
        'resampled': 'texts' if mark else 'pairs of texts',
        'mark': mark,
        'leak': bool(said.low > LIMITS[control]),
      }
    )
  return made


def probe(
  features: np.ndarray, items: np.ndarray, label: np.ndarray, *, seed: int = 0
) -> Probe:
  """Returns how well a linear model of features tells first from second.

  Cross-fitted in 5 folds; a pair of texts is in one fold whoever judged it.
  With labels all 1 it is the slots that are told apart: the model has no
  intercept and sees differences only.

  Args:
    features: `[M, F]` of every text.
    items: `[n, 2]` texts of each row.
    label: `[n]` 1 if the first is the one to find, else 0.
    seed: of the folds.
  """
  spread = features.std(0)
  # What does not vary but by rounding says nothing.
  varies = spread > 1e-9 * (1 + np.abs(features).max(0))
  scaled = features / np.where(varies, spread, np.inf)
  n, (texts, width) = len(items), scaled.shape
  # Sizes of a few kinds: what is compiled for one set of texts serves others.
  pad = [(0, (1 << (size - 1).bit_length()) - size) for size in (texts, n)]
  x = jnp.asarray(np.pad(scaled, (pad[0], (0, -width % _WIDTH))))
  index = np.pad(items, (pad[1], (0, 0)))
  y = np.pad(np.asarray(label, float), pad[1])
  pair = copies.pairs(items)
  fold_of = np.random.default_rng(seed).integers(0, _FOLDS, pair.max() + 1)
  fold = fold_of[pair]
  margin = np.zeros(len(label))
  for number in range(_FOLDS):
    mask = np.pad((fold != number).astype(np.float32), pad[1])
    weight = np.asarray(_fit(x, index, y, mask))[:width]
    out = fold == number
    score = scaled @ weight
    margin[out] = score[items[out, 0]] - score[items[out, 1]]
  return Probe(*_gain(margin, np.zeros(len(label)), label, pair, 0.5), margin)


def _gain(
  margin: np.ndarray,
  other: np.ndarray,
  label: np.ndarray,
  pair: np.ndarray,
  at: float,
) -> tuple[float, float, float]:
  """Returns accuracy less another's, from `at`, with an interval over pairs.

  Args:
    margin: `[n]`, positive where the first text is told; 0 is a guess.
    other: `[n]` of the other.
    label: `[n]` 1 if the first is the one to find, else 0.
    pair: `[n]` of texts.
    at: what a difference of 0 is called.
  """
  truth = np.asarray(label, float)
  runs = [
    [statistics.Run(1 / (1 + np.exp(-np.clip(m, -500, 500))), truth, pair)]
    for m in (margin, other)
  ]
  row = statistics.paired_gain(*runs, replicates=_REPLICATES)
  if not np.isnan(row['gain_low']):
    return tuple(at + row[f'gain{end}'] for end in ('', '_low', '_high'))
  # Always right or always wrong: resampling finds nothing else, and a count
  # still says how sure that is.
  pairs, value = int(row['people']), at + row['gain']
  found = intervals.share(round(np.clip(value, 0, 1) * pairs), pairs)
  return value, found.low, found.high


@jax.jit
def _fit(features, items, label, mask):
  return bayes.pooled_mode(features, items, label, mask, ridge=_RIDGE)
