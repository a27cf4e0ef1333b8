"""What a judge's text says: verdicts and scores, read strictly or not at all.

Every reader takes the text that was generated, never the prompt, and any
string: one that does not say exactly one thing in the place where it is asked
for is invalid. Nothing here raises.

What is thought, up to the last '</think>', is not read, and a thought that
does not end is no text. Digits are those of ASCII.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

CLOSE = '</think>'
OPEN = '<think>'
_WINDOW = 80  # characters, in which RM-R1 looks for its verdict
_LETTERS = 'AB'
_VERDICT = re.compile(r'\[\[([AB])\]\]')
_QUESTION = 'Is the answer correct (Yes/No)?'


class Said(NamedTuple):
  """What one text of a judge says, by the place at which answers were shown.

  Attributes:
    verdict: the place that is preferred, from 0; -1 where none is: the text is
      invalid, scores tie, or there is one answer.
    scores: of n answers; NaN where the text says none.
    strength: how much better the second of two answers is, in the scores'
      units; NaN where the text does not say.
  """

  verdict: int
  scores: tuple[float, ...]
  strength: float

  @property
  def valid(self) -> bool:
    """Whether the text says anything."""
    return self.verdict >= 0 or not any(map(math.isnan, self.scores))


def opened(prompt: str) -> str:
  """Returns what of a text already stands at the end of its prompt.

  '<think>' where a template opens the thought, as of models that always think:
  read without it, a thought that does not end would be a text.

  Args:
    prompt: of a judge, whole.
  """
  return OPEN if prompt.rstrip().endswith(OPEN) else ''


def nothing(answers: int) -> Said:
  """Returns what an invalid text says of n answers."""
  return Said(-1, (math.nan,) * answers, math.nan)


def preferred(place: int, answers: int = 2) -> Said:
  """Returns what a verdict says: the place that is preferred."""
  return nothing(answers)._replace(verdict=place)


def scored(scores: Sequence[float]) -> Said:
  """Returns what scores say: the best one is preferred if it is single.

  Args:
    scores: of n answers.
  """
  scores = tuple(map(float, scores))
  if any(map(math.isnan, scores)):
    return nothing(len(scores))
  best = [i for i, score in enumerate(scores) if score == max(scores)]
  verdict = best[0] if len(best) == 1 < len(scores) else -1
  strength = scores[1] - scores[0] if len(scores) == 2 else math.nan
  return Said(verdict, scores, strength)


def concluded(text: str, *, opened: bool = False) -> str | None:
  """Returns what follows a text's thoughts; None if they do not end.

  Args:
    text: as generated.
    opened: whether the prompt had begun the thoughts.
  """
  before, close, rest = text.rpartition(CLOSE)
  del before
  if OPEN in rest or (opened and not close):
    return None
  return rest


def between(text: str, begin: str, end: str) -> list[str] | None:
  """Returns what stands between marks; None if they do not take turns.

  Args:
    text: any.
    begin: a mark, as it is written.
    end: another.
  """
  marks = re.split(f'({re.escape(begin)}|{re.escape(end)})', text)
  if marks[1::2] != [begin, end] * (len(marks) // 4):
    return None
  return marks[2::4]


def boxes(text: str) -> list[str] | None:
  r"""Returns what stands in '\boxed{...}'; None if one is open or nested."""
  found = re.findall(r'\\boxed\{([^{}]*)\}', text)
  return found if len(found) == text.count(r'\boxed') else None


def number(
  text: str, low: float, high: float, *, decimals: int = 0, ten: bool = False
) -> float:
  """Returns a number from `low` to `high`; NaN if the text is none.

  Args:
    text: digits, and spaces around them.
    low: the least.
    high: the largest.
    decimals: how many may follow a point.
    ten: whether '/10' may follow.
  """
  point = rf'(?:\.[0-9]{{1,{decimals}}})?' if decimals else ''
  tail = r'(?:/10\s*)?' if ten else ''
  found = re.fullmatch(rf'\s*([0-9]{{1,4}}{point})\s*{tail}', text)
  value = float(found[1]) if found else math.nan
  return value if low <= value <= high else math.nan


def rm_r1(text: str) -> Said:
  """Returns RM-R1's verdict: one '<answer>[[A]]</answer>' near the end.

  It stands in the last 80 characters, which the released reward looks at, and
  no other verdict stands behind the thoughts, in a tag or not, however far
  before.
  """
  end = concluded(text) or ''
  found = between(end, '<answer>', '</answer>') or []
  near = re.search(r'<answer>\[\[([AB])\]\]</answer>', end[-_WINDOW:])
  if len(found) != 1 or not near or len(_VERDICT.findall(end)) != 1:
    return nothing(2)
  return preferred(_LETTERS.index(near[1]))


def rrm(text: str) -> Said:
  r"""Returns RRM's verdict: one box, '\boxed{Assistant 1}' or 2."""
  found = boxes(concluded(text) or '') or []
  # No more space than is quoted where it stands in somebody else's text.
  held = r'\s{0,4}Assistant ([12])\s{0,4}'
  place = re.fullmatch(held, found[0]) if found else None
  if len(found) != 1 or not place:
    return nothing(2)
  return preferred(int(place[1]) - 1)


def j1_verdict(text: str) -> Said:
  """Returns J1's verdict: one '<answer> [[A]] </answer>', and no other."""
  end = concluded(text) or ''
  found = between(end, '<answer>', '</answer>') or []
  letter = (
    re.fullmatch(rf'\s*{_VERDICT.pattern}\s*', found[0]) if found else None
  )
  if len(found) != 1 or not letter or len(_VERDICT.findall(end)) != 1:
    return nothing(2)
  return preferred(_LETTERS.index(letter[1]))


def j1_scores(text: str, names: Sequence[str]) -> Said:
  """Returns J1's scores from 0 to 10, one tag of each name, in any order.

  Args:
    text: as generated.
    names: of tags: 'score', or 'score_A' and 'score_B'.
  """
  end = concluded(text) or ''
  scores = []
  for name in names:
    found = between(end, f'<{name}>', f'</{name}>') or []
    if len(found) != 1:
      return nothing(len(names))
    scores.append(number(found[0], 0, 10, decimals=1, ten=True))
  return scored(scores)


def grm(text: str, answers: int, low: int, high: int) -> Said:
  r"""Returns DeepSeek-GRM's scores: whole numbers in the box of 'Scores:'.

  The last line that is not blank begins with 'Scores:' and holds one box, with
  a number for each answer between commas. No other line begins so, and no
  other place says 'Scores:' with a box.

  Args:
    text: as generated.
    answers: n.
    low: the least score.
    high: the largest.
  """
  end = (concluded(text) or '').rstrip()
  last = end.rpartition('\n')[2]
  said = re.findall(r'(?m)^Scores:|Scores:\s*\\boxed', end)
  found = boxes(last) if last.startswith('Scores:') else None
  each = found[0].split(',') if found and len(found) == 1 else []
  if len(said) != 1 or len(each) != answers:
    return nothing(answers)
  return scored([number(score, low, high) for score in each])


def br_rm(text: str) -> Said:
  r"""Returns BR-RM's verdict: '\boxed{1}' or 2 in the one ranking score."""
  marks = ('[The Begin of Ranking Score]', '[The End of Ranking Score]')
  found = between(concluded(text) or '', *marks) or []
  place = re.fullmatch(r'\s*\\boxed\{([12])\}\s*', found[0]) if found else None
  if len(found) != 1 or not place:
    return nothing(2)
  return preferred(int(place[1]) - 1)


def judge_lrm(text: str) -> Said:
  """Returns JudgeLRM's scores from 0 to 10: two answers after the thoughts.

  The prompt begins the thoughts, so that a text has to end them.
  """
  end = concluded(text, opened=True) or ''
  found = between(end, '<answer>', '</answer>') or []
  if len(found) != 2:
    return nothing(2)
  return scored([number(score, 0, 10) for score in found])


def yes_no(text: str) -> Said:
  """Returns 1 for 'Yes' and 0 for 'No' behind the question of the last line.

  The question stands nowhere else in the text.
  """
  end = (concluded(text) or '').strip()
  question = re.escape(_QUESTION)
  last = re.fullmatch(
    rf'(?:Verification: )?{question} (Yes|No)\.?', end.split('\n')[-1].strip()
  )
  if not last or end.count(_QUESTION) != 1:
    return nothing(1)
  return scored([float(last[1] == 'Yes')])
