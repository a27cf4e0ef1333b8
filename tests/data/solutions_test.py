import pytest

from prm_jax.data import solutions


def test_a_rule_criticises_a_worked_solution():
  solution = (
    'She has 3+4=<<3+4=7>>7 eggs.\nShe sells 7*2=<<7*2=14>>14.\n#### 14'
  )
  attempt = 'She has 7 eggs and sells 9 of them. The answer is 9.'
  say = solutions.critique
  assert say('indicative', solution, attempt, 0.0) == 'The answer is wrong.'
  assert say('indicative', solution, attempt, 1.0) == 'The answer is right.'
  assert say('with_answer', solution, attempt, 0.0).endswith('answer is 14.')
  assert say('step_by_step', solution, attempt, 0.0) == (
    'The answer is wrong. This step is missing: She sells 7*2=14.'
  )
  first = say('step_by_step', solution, 'I do not know.', 0.0)
  assert first.endswith('She has 3+4=7 eggs.')
  with pytest.raises(ValueError, match='kind'):
    say('kind', solution, attempt, 0.0)
