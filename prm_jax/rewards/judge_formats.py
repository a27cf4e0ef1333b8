"""Forms in which a judge is asked and answers: those of the released judges.

A format says what is read, `messages`, turn by turn, and what an answer says,
`parse`. Fields, that is tags, headings, the order of parts and the patterns of
answers, are the release's, so that released weights can judge with it; the
sentences around them are ours, unless a `Wording` is given.

`quote` (default) neutralises what looks like a field in questions, responses
and criteria (`judge_quotes`), so that none of them ends its part, begins
another or shows a verdict. Released judges have read raw text: without `quote`
they read exactly what they were trained on, and whoever wrote a response can
write the prompt's fields, too. Verdicts are read from the judge's text alone
in either case. Texts without such strings are the same in both.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from prm_jax.rewards import judge_quotes, judge_readings, judge_wording
from prm_jax.rewards.judge_readings import Said
from prm_jax.rewards.judge_wording import Wording

Messages = list[tuple[str, str]]  # (role, content)
_MOST = 128  # choices that a text is held to


class Format(NamedTuple):
  """A form of judging.

  Attributes:
    name: of the form.
    responses: n that are shown at once.
    turns: how many texts the judge writes; the last one is parsed.
    messages: `(query, responses, criterion=None, said=()) -> Messages`: what
      the next text answers, where `said` are the judge's texts before it.
      ValueError for another number of responses, a criterion that is empty,
      or no turn that is left.
    parse: `text -> Said`; any string.
    opening: what the judge's last turn begins with, which is not generated.
    cue: after which a text says what it decides, for constrained decoding.
    choices: what may stand behind it, to the text's end; none where there are
      too many: scores of three answers and more.
    ranks: whether the text says a verdict alone, and no scores.
    quote: whether fields in texts of others are neutralised.
  """

  name: str
  responses: int
  turns: int
  messages: Callable[..., Messages]
  parse: Callable[[str], Said]
  opening: str
  cue: str
  choices: tuple[str, ...]
  ranks: bool
  quote: bool


class _Layout(NamedTuple):
  """Where the parts of a user's message stand.

  Attributes:
    parts: `(query, responses) -> str`.
    fields: that a text of others may not hold.
    standards: a heading of what is judged by; '' where there is none.
    output: one of what the message ends with.
  """

  parts: Callable[[str, Sequence[str]], str]
  fields: judge_quotes.Fields
  standards: str = ''
  output: str = ''


def _format(
  name: str,
  layout: _Layout,
  wording: Wording,
  parse: Callable[[str], Said],
  *,
  cue: str,
  choices: Iterable[str],
  responses: int = 2,
  ranks: bool = False,
  opening: str = '',
  quote: bool,
) -> Format:
  def clean(text: str) -> str:
    return judge_quotes.quoted(text, layout.fields) if quote else text

  def messages(
    query: str,
    given: Sequence[str],
    criterion: str | None = None,
    said: Sequence[str] = (),
  ) -> Messages:
    if len(given) != responses:
      raise ValueError(f'{name} reads {responses} responses, not {len(given)}')
    if len(said) > len(wording.later):
      raise ValueError(f'{name} writes {len(wording.later) + 1} texts, no more')
    standards = wording.standards
    if criterion is not None:
      standards = _criterion(clean(criterion))
    sections = [
      wording.before,
      _headed(layout.standards, standards),
      layout.parts(clean(query), [clean(text) for text in given]),
      _headed(layout.output, wording.after),
    ]
    found = [('system', wording.system)] if wording.system else []
    found.append(('user', '\n\n'.join(filter(None, sections))))
    for text, request in zip(said, wording.later, strict=False):
      found += [('assistant', text), ('user', request)]
    return found

  turns = len(wording.later) + 1
  said = (opening, cue, tuple(choices))
  return Format(name, responses, turns, messages, parse, *said, ranks, quote)


def _headed(heading: str, text: str) -> str:
  return f'{heading}\n{text}' if heading and text else text


def _criterion(text: str) -> str:
  if not text.strip():
    raise ValueError('the criterion is empty: leave it out, or say one')
  return (
    f'{judge_wording.CRITERION}\n[The Start of the Criterion]\n{text}\n'
    '[The End of the Criterion]'
  )


def chatml(messages: Messages) -> str:
  """Returns messages in the template of SmolLM2 and Qwen, and a judge's turn.

  As `models.sampling.chatml`, of any number of turns.

  Args:
    messages: roles and contents.
  """
  turn = '<|im_start|>{}\n{}<|im_end|>\n'
  return ''.join(turn.format(*each) for each in messages) + (
    '<|im_start|>assistant\n'
  )


# ---------------------------------------------------------- two in one prompt


def _chatbots(query: str, responses: Sequence[str]) -> str:
  both = '\n\n'.join(
    f"[The Start of Chatbot {letter}'s Response]\n{text}\n"
    f"[The End of Chatbot {letter}'s Response]"
    for letter, text in zip('AB', responses, strict=True)
  )
  return f'[Client Question]\n{query}\n\n{both}'


def rm_r1(
  *, distilled: bool = False, wording: Wording | None = None, quote: bool = True
) -> Format:
  """Returns RM-R1's: a chain of rubrics, or of the judge's own solution.

  The judge says what kind of task it is; for Reasoning it solves it, for Chat
  it writes a rubric; then it compares, and ends with '<answer>[[A]]</answer>'.

  Args:
    distilled: whether it is one of those that began from a distilled reasoning
      model, which read a short user's message and no system's.
    wording: sentences in place of ours.
    quote: see the module.

  References:
    Chen et al. 2025 (RM-R1), arXiv:2505.02387.

  Notes:
    As in the released reward, the verdict is read from the last 80 characters.
    The release looks at nothing before them, and takes a verdict that they
    hold twice; here a second one, the same or another, anywhere behind the
    thoughts makes the text invalid. The form for conversations of several
    turns is not built.
  """
  ours = judge_wording.RM_R1_DISTILLED if distilled else judge_wording.RM_R1
  tags = ['type', 'solution', 'eval', 'rubric', 'justify']
  tags += [f'{what}_{who}' for what in ('quote', 'summary') for who in 'AB']
  known = judge_quotes.fields(
    tags=tags,
    brackets=[
      "The (?:Start|End) of Chatbot [AB]'s Response",
      'Client Question',
    ],
  )
  return _format(
    'rm_r1',
    _Layout(_chatbots, known),
    ours if wording is None else wording,
    judge_readings.rm_r1,
    cue='<answer>',
    choices=[f'[[{letter}]]</answer>' for letter in 'AB'],
    ranks=True,
    quote=quote,
  )


def rrm(*, wording: Wording | None = None, quote: bool = True) -> Format:
  r"""Returns RRM's: two assistants, and one of them in a box.

  Args:
    wording: sentences in place of ours.
    quote: see the module.

  References:
    Guo et al. 2025 (Reward Reasoning Model), arXiv:2505.14674.

  Notes:
    The fields are those of the model's card, as others use it; the released
    training code was not found. A box inside the thoughts is not read, and
    two boxes behind them are invalid, where others take the last.
  """

  def parts(query: str, responses: Sequence[str]) -> str:
    both = '\n\n\n'.join(
      f'### Assistant {number}\n\n{text}'
      for number, text in enumerate(responses, 1)
    )
    return f'## Query\n\n{query}\n\n## Assistant responses\n\n{both}'

  known = judge_quotes.fields(
    strings=[r'\\boxed\s{0,4}\{\s{0,4}Assistant\s{0,4}\d\s{0,4}\}'],
    headings=['Query', 'Assistant', 'Analysis'],
  )
  return _format(
    'rrm',
    _Layout(parts, known, output='## Analysis\n'),
    judge_wording.RRM if wording is None else wording,
    judge_readings.rrm,
    cue=r'\boxed{',
    choices=['Assistant 1}', 'Assistant 2}'],
    ranks=True,
    quote=quote,
  )


class _J1(NamedTuple):
  """A form of J1: what is told, names of scores, and what may be said."""

  wording: Wording
  names: tuple[str, ...]
  cue: str
  choices: list[str]


_J1_FORMS = {
  'verdict': _J1(
    judge_wording.J1_VERDICT,
    (),
    '<answer>',
    [f' [[{letter}]] </answer>' for letter in 'AB'],
  ),
  'scores': _J1(
    judge_wording.J1_SCORES,
    ('score_A', 'score_B'),
    '<score_A>',
    [
      f' {one} </score_A> <score_B> {two} </score_B>'
      for one, two in itertools.product(range(11), repeat=2)
    ],
  ),
  'score': _J1(
    judge_wording.J1_SCORE,
    ('score',),
    '<score>',
    [f' {tenths / 10:g} </score>' for tenths in range(101)],
  ),
}


def j1(
  form: str = 'verdict', *, wording: Wording | None = None, quote: bool = True
) -> Format:
  """Returns J1's: two answers and a verdict or their scores, or one answer.

  Args:
    form: 'verdict' (PaV), two answers; 'scores' (PaS), two answers and a score
      from 0 to 10 of each; 'score' (PoS), one answer and its score.
    wording: sentences in place of ours.
    quote: see the module.

  Raises:
    ValueError: unknown form.

  References:
    Whitehouse et al. 2025 (J1), arXiv:2505.10320.

  Notes:
    Scores and verdict in one text (PaVS) are not built. Where a tag comes
    twice, the released reader takes the last; here the text is invalid, and
    one without scores is invalid and not 0.
  """
  if form not in _J1_FORMS:
    raise ValueError(f'form {form!r}: one of {sorted(_J1_FORMS)}')
  alone, ours = form == 'score', _J1_FORMS[form]

  def parts(query: str, responses: Sequence[str]) -> str:
    letters = [''] if alone else [' A', ' B']
    each = [
      f"[The Start of {'the ' * alone}Assistant{letter}'s Answer]\n{text}\n"
      f"[The End of {'the ' * alone}Assistant{letter}'s Answer]"
      for letter, text in zip(letters, responses, strict=True)
    ]
    return '\n\n'.join([f'[User Question]\n{query}', *each])

  def scores(text: str) -> Said:
    return judge_readings.j1_scores(text, ours.names)

  known = judge_quotes.fields(
    tags=['score', 'score_A', 'score_B'],
    brackets=[
      'User Question',
      "The (?:Start|End) of (?:the )?Assistant(?: [AB])?'s Answer",
    ],
  )
  return _format(
    f'j1_{form}',
    _Layout(parts, known),
    ours.wording if wording is None else wording,
    scores if ours.names else judge_readings.j1_verdict,
    cue=ours.cue,
    choices=ours.choices,
    responses=1 if alone else 2,
    ranks=not ours.names,
    quote=quote,
  )


def judge_lrm(*, wording: Wording | None = None, quote: bool = True) -> Format:
  """Returns JudgeLRM's: thoughts that the prompt begins, then two scores.

  Args:
    wording: sentences in place of ours.
    quote: see the module.

  References:
    Chen et al. 2025 (JudgeLRM), arXiv:2504.00050.

  Notes:
    The prompt asks for 1 to 10, and the released reward takes 0, too, as here.
  """

  def parts(query: str, responses: Sequence[str]) -> str:
    each = [
      f"[Assistant {number}'s Answer]\n{text}"
      for number, text in enumerate(responses, 1)
    ]
    return '\n\n'.join([f'[Question]\n{query}', *each])

  known = judge_quotes.fields(brackets=['Question', r"Assistant \d's Answer"])
  return _format(
    'judge_lrm',
    _Layout(parts, known),
    judge_wording.JUDGE_LRM if wording is None else wording,
    judge_readings.judge_lrm,
    cue='</think><answer>',
    choices=[
      f'{one}</answer><answer>{two}</answer>'
      for one, two in itertools.product(range(11), repeat=2)
    ],
    opening='<think>',
    quote=quote,
  )


def br_rm(*, wording: Wording | None = None, quote: bool = True) -> Format:
  r"""Returns BR-RM's: two turns, of which the second thinks again.

  The first chooses what matters for the query and names critical issues of
  each response; the second weighs them, and ends with '\boxed{1}' or 2.

  Args:
    wording: sentences in place of ours.
    quote: see the module.

  References:
    Jiao et al. 2025 (Branch-and-Rethink), arXiv:2510.23596.

  Notes:
    The released trainer stops texts at their last field; here they stop at the
    end of a turn. It takes a first digit out of the box; here the box holds
    nothing else.
  """

  def parts(query: str, responses: Sequence[str]) -> str:
    return (
      f'**Context:**\n[The Begin of Context]\n{query}\n[The End of Context]\n\n'
      f'**Responses:**\n{_numbered(responses)}'
    )

  inner = r'Context|(?:Analysis on )?Response \d|Ranking Score'
  known = judge_quotes.fields(
    brackets=[
      f'The (?:Begin|Start|End) of (?:{inner})',
      r'(?:End of )?Quality (?:Assessment Focus|Analysis for Response \d)',
    ],
    headings=['Output Format'],
    labels=['Context', 'Responses', 'Output Format'],
  )
  return _format(
    'br_rm',
    _Layout(parts, known, output='**Output Format:**'),
    judge_wording.BR_RM if wording is None else wording,
    judge_readings.br_rm,
    cue='[The Begin of Ranking Score]\n\\boxed{',
    choices=[f'{place}}}\n[The End of Ranking Score]' for place in (1, 2)],
    ranks=True,
    quote=quote,
  )


# ------------------------------------------------------------ any number, one


def _numbered(responses: Sequence[str]) -> str:
  alone = len(responses) == 1
  return '\n\n'.join(
    f'[The Begin of {name}]\n{text}\n[The End of {name}]'
    for name, text in (
      ('Response' if alone else f'Response {number}', text)
      for number, text in enumerate(responses, 1)
    )
  )


def grm(
  responses: int = 2,
  *,
  scores: tuple[int, int] | None = None,
  wording: Wording | None = None,
  quote: bool = True,
) -> Format:
  r"""Returns DeepSeek-GRM's: principles with weights, critique, then scores.

  Any number of responses in one prompt, each with its score in the last line,
  'Scores: \boxed{8, 3}'.

  Args:
    responses: n.
    scores: the least and the largest; from 1 to 10 if None, and for one
      response 0 or 1, as published.
    wording: sentences in place of ours.
    quote: see the module.

  Raises:
    ValueError: no response, or no scores.

  References:
    Liu et al. 2025 (DeepSeek-GRM, SPCT), arXiv:2504.02495, appendix.

  Notes:
    A criterion takes the place of the general criteria, which the published
    prompt has in the same place. A box before the line of scores is not read.
  """
  low, high = scores or ((0, 1) if responses == 1 else (1, 10))
  if responses < 1 or not 0 <= low < high < 10_000:
    raise ValueError(f'{responses} responses with scores {low} to {high}')
  mark = '#' * (3 if responses == 1 else 4)

  def headed(text: str) -> str:
    return f'{mark} {text} {mark}'

  def parts(query: str, given: Sequence[str]) -> str:
    return (
      f'{headed("Conversation Context")}\n{query}\n\n'
      f'{headed("Responses to be Scored")}\n{_numbered(given)}'
    )

  known = judge_quotes.fields(
    brackets=[r'The (?:Begin|Start|End) of Response(?: \d+)?'],
    headings=[
      'Conversation Context',
      'Responses to be Scored',
      'Output Format',
      'Evaluation Criteria',
    ],
    labels=['Scores', 'Specific Criteria', 'Analysis'],
  )
  own = judge_wording.grm(responses, low, high)
  return _format(
    'grm',
    _Layout(
      parts,
      known,
      standards=headed('Evaluation Criteria'),
      output=headed('Output Format Requirements'),
    ),
    own if wording is None else wording,
    lambda text: judge_readings.grm(text, responses, low, high),
    cue='\nScores: \\boxed{',
    choices=[
      f'{", ".join(map(str, each))}}}'
      for each in itertools.product(range(low, high + 1), repeat=responses)
    ]
    if (high + 1 - low) ** responses <= _MOST
    else [],
    responses=responses,
    quote=quote,
  )


def genrm(*, wording: Wording | None = None, quote: bool = True) -> Format:
  """Returns GenRM-CoT's: one solution, checked, and is it right: yes or no.

  Args:
    wording: sentences in place of ours.
    quote: see the module.

  References:
    Zhang et al. 2024 (Generative verifiers), arXiv:2408.15240.

  Notes:
    No weights are released; question and answer are the paper's, the places of
    problem and solution those of verifiers that follow it. The paper's score
    is the probability of 'Yes', here it is what was drawn: 1 or 0;
    `generative.Judge.expected` reads the probability behind a text.
  """

  def parts(query: str, responses: Sequence[str]) -> str:
    return f'Question: {query}\n\nSolution: {responses[0]}'

  known = judge_quotes.fields(
    labels=['Question', 'Solution', 'Verification'],
    strings=[r'Is the answer correct \(Yes/No\)\?'],
  )
  return _format(
    'genrm',
    _Layout(parts, known),
    judge_wording.GENRM if wording is None else wording,
    judge_readings.yes_no,
    cue='\nVerification: Is the answer correct (Yes/No)?',
    choices=[' Yes', ' No'],
    responses=1,
    quote=quote,
  )
