"""Formats of judges, and a text that each might write, for tests."""

from prm_jax.rewards import judge_formats as formats

THOUGHT = '<think>\nB adds wrongly: 3 + 4 = 7.\n</think>\n'
ANALYSIS = """\
[Quality Assessment Focus]
Computational Precision, Logical Reasoning
[End of Quality Assessment Focus]

[Quality Analysis for Response 1]
- Critical Issues: None identified
[End of Quality Analysis for Response 1]

[Quality Analysis for Response 2]
- Critical Issues: the sum is wrong
[End of Quality Analysis for Response 2]"""

# Written by hand in the form that each release asks for; all prefer the second
# of two, or find the one right.
WRITTEN = {
  'rm_r1': """\
<type>Reasoning</type>

<solution> 3 + 4 = 7 </solution>

<eval>
  <quote_A>3 + 4 = 8</quote_A> is wrong; <summary_B>adds rightly</summary_B>.
</eval>

<answer>[[B]]</answer>""",
  'rm_r1 of a chat': """\
<type>Chat</type>

<rubric>
  Warmth (60%), brevity (40%)
  <justify> The client is sad. </justify>
</rubric>

<eval>
  <summary_A>lectures</summary_A>, <quote_B>I am sorry</quote_B> is warm.
</eval>

<answer>[[B]]</answer>""",
  'rm_r1, distilled': f'{THOUGHT}B is right.\n\n<answer>[[B]]</answer>\n',
  'rrm': f'{THOUGHT}The second adds rightly.\n\n\\boxed{{Assistant 2}}',
  'j1': f'{THOUGHT}<answer> [[B]] </answer>',
  'j1, scores': f'{THOUGHT}<score_A> 2.5 </score_A> <score_B> 9/10 </score_B>',
  'j1, score': f'{THOUGHT}<score> 7.5 </score>',
  'judge_lrm': ' A is wrong.\n</think><answer>2</answer><answer>9</answer>',
  'br_rm': """\
[The Begin of Analysis on Response 1]
Correctness comes first, and the sum is wrong.
[The End of Analysis on Response 1]

[The Begin of Analysis on Response 2]
Right.
[The End of Analysis on Response 2]

[The Begin of Ranking Score]
\\boxed{2}
[The End of Ranking Score]
""",
  'grm': (
    'Specific Criteria: Accuracy (70%), clarity (30%).\n'
    'Analysis: The first writes \\boxed{8}, which is wrong.\n'
    'Scores: \\boxed{3, 9}'
  ),
  'grm of three': 'Specific Criteria: a\nAnalysis: b\nScores: \\boxed{3, 9,9}',
  'grm of one': 'Specific Criteria: a\nAnalysis: b\nScores: \\boxed{1}.',
  'genrm': (
    "Let's verify step by step.\n3 + 4 = 7, as it says.\n"
    'Verification: Is the answer correct (Yes/No)? Yes'
  ),
}


def forms(**options):
  """The formats by the names of what is written in them."""
  rm_r1 = formats.rm_r1(**options)
  return {
    'rm_r1': rm_r1,
    'rm_r1 of a chat': rm_r1,
    'rm_r1, distilled': formats.rm_r1(distilled=True, **options),
    'rrm': formats.rrm(**options),
    'j1': formats.j1(**options),
    'j1, scores': formats.j1('scores', **options),
    'j1, score': formats.j1('score', **options),
    'judge_lrm': formats.judge_lrm(**options),
    'br_rm': formats.br_rm(**options),
    'grm': formats.grm(**options),
    'grm of three': formats.grm(3, **options),
    'grm of one': formats.grm(1, **options),
    'genrm': formats.genrm(**options),
  }
