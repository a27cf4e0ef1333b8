"""The commands of docs/howto/export.md, on a tiny checkpoint."""

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from prm_jax import main
from tests import exports_made

PAGE = Path(__file__).parents[1] / 'docs/howto/export.md'
COMMANDS = re.findall(r'```sh\n(.*?)```', PAGE.read_text(), re.DOTALL)


def test_six_commands_on_a_short_page():
  (block,) = COMMANDS
  assert [line.split()[1] for line in block.splitlines()] == [
    *('convert', 'train', 'audit', 'export', 'score', 'benchmark')
  ]
  assert len(PAGE.read_text().splitlines()) <= 80


@pytest.mark.slow
def test_from_a_checkpoint_and_a_file_to_a_personal_model(
  tmp_path, private_cache, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  small = exports_made.tiny(max_position_embeddings=256)
  exports_made.checkpoint(Path('CHECKPOINT'), *small)
  rng = np.random.default_rng(0)
  people = ('ann', *(f'u{n}' for n in range(11)))
  with open('votes.csv', 'w') as file:
    rows = csv.writer(file)
    rows.writerow(['who', 'question', 'better', 'worse'])
    for at, user in enumerate(people):
      for n in range(30):
        pair = [''.join(rng.choice([*'abcdefgh'], 12)) for _ in range(2)]
        pair.sort(key=lambda text: text.count('a') * (-1) ** at)
        rows.writerow([user, f'Say {n % 3}', *pair])
  texts = ['aaa aa', 'b dd', 'ba', 'hhh']
  lines = [json.dumps({'prompt': 'Say 1', 'response': t}) for t in texts]
  Path('responses.jsonl').write_text('\n'.join(lines))
  exports_made.judgements(Path('new_votes.jsonl'), seed=3)
  for line in COMMANDS[0].splitlines():
    assert main.run(shlex.split(line)[1:]) == 0, capsys.readouterr().err
  said = capsys.readouterr().out
  assert 'judgements, overall: ' in said
  card = Path('ann/README.md').read_text()
  assert 'No hazard audit was run' not in card
  assert 'served different sides of contested questions' in card
  assert re.search(r'accuracy 0\.\d+ \[', card)
  call = ['score', '--workdir=run', '--user=ann', '--data=responses.jsonl']
  assert main.run([*call, '--output=wanted.jsonl']) == 0
  found, want = (
    [json.loads(row)['score'] for row in Path(name).read_text().splitlines()]
    for name in ('scores.jsonl', 'wanted.jsonl')
  )
  np.testing.assert_allclose(found, want, atol=2e-5 * np.abs(want).max())
