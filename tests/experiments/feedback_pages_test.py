from prm_jax.report import feedback, page


def results():
  curve = {
    'method': 'dr_grpo', 'unsolved_share': 0.5, 'seeds': 2,
    'hard': 0.0, 'hard_low': 0.0, 'hard_high': 0.0,
    'solve_rate': 0.4, 'solve_rate_low': 0.3, 'solve_rate_high': 0.5,
  }  # fmt: skip
  fit = {'arm': 'hints_10', 'method': 'evaluative', 'seeds': 2, 'fit': 0.2,
         'fit_low': None, 'fit_high': None}  # fmt: skip
  solved = {
    'method': 'dr_grpo', 'unsolved_share': 0.5, 'seeds': 2,
    'solve_rate': 0.4, 'solve_rate_low': 0.3, 'solve_rate_high': 0.5,
  }  # fmt: skip
  return {
    'study': 'critique_and_numbers',
    'tables': {
      'solve_rate': [solved],
      'curves': [
        *({**curve, 'step': step} for step in (0, 20)),
        *({**fit, 'step': step} for step in (0, 10)),
      ],
      'per_seed': [{'method': 'dr_grpo', 'seed': 0}],
    },
  }  # fmt: skip


def test_curves_are_drawn_by_share_and_by_arm():
  found = {s['title']: s['pictures'] for s in feedback.sections(results())}
  assert set(found) == {
    'Problems solved', 'Problems that were never solved',
    'First replies that fit',
  }  # fmt: skip
  (solved,) = found['Problems solved']
  assert solved.alt == 'solved (%); 50 % never solved. Dr.GRPO 40 to 40.'
  (fits,) = found['First replies that fit']
  assert 'hints 10' in fits.alt


def test_the_page_tables_what_is_solved(tmp_path):
  page.write_page(results(), tmp_path / 'index.html')
  text = (tmp_path / 'index.html').read_text()
  assert 'What is solved at the end' in text
  assert 'Dr.GRPO' in text
  assert text.count('<img') == 3
