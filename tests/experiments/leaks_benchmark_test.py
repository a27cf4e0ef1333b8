import numpy as np

from experiments.benchmarks import leaks
from prm_jax.data import schema

WORDS = [f'word{i}' for i in range(60)] + ['"so"', 'and', 'then,', 'a - b']


def _pairs(rng):
  """Pairs of texts of one topic: they are dealt in turn."""
  a = rng.permutation(400)[:30]
  return np.stack([a, (a + 4 * rng.integers(1, 100, 30)) % 400], 1).tolist()


def judgements():
  rng = np.random.default_rng(0)
  texts = [' '.join(rng.choice(WORDS, 15)) + '.' for _ in range(400)]
  return schema.code_judgements(
    schema.Judgement(
      user_id=f'u{user}',
      prompt_id=f'p{a % 4}',
      prompt=f'Question {a % 4}?',
      response_a=texts[a],
      response_b=texts[b],
      label=float(rng.integers(0, 2)),
      topic=f't{a % 4}',
    )
    for user in range(40)
    for a, b in _pairs(rng)
  )


def test_every_leak_is_found_and_clean_draws_are_not(tmp_path, monkeypatch):
  monkeypatch.setattr(leaks, 'sets', lambda folder: {'made': judgements()})
  monkeypatch.setenv('PRM_DATA_DIR', str(tmp_path))
  alarms = {
    row['kind']: row['flagged']
    for row in leaks.measure(leaks.Sizes(3, 1))['alarms']
  }
  assert alarms == {'clean': 0, **dict.fromkeys(leaks.LEAKS, 1)}


def test_a_draw_is_of_half_the_people():
  rows = leaks.draw(judgements(), 3)
  assert len({row.user_id for row in rows}) == 20
  assert leaks.draw(judgements(), 3) == rows
