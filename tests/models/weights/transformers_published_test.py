"""Published lower layers of every family against transformers.

Without torch and transformers, which are an extra, these tests are skipped.
"""

import json

import numpy as np
import pytest

pytest.importorskip('torch')
pytest.importorskip('transformers')

from prm_jax.models import classifier
from prm_jax.models.weights import published
from tests.models import chat_templates
from tests.models.weights import transformers_test as families


@pytest.mark.slow
@pytest.mark.parametrize('kind', families.FAMILIES)
def test_scores_of_lower_layers_are_those_of_transformers(kind, tmp_path):
  source, out = tmp_path / 'source', tmp_path / 'out'
  out.mkdir()
  known = families.config_of(kind, vocab_size=300)
  model = families.made(known)
  model.save_pretrained(source, max_shard_size='40KB')
  chat_templates.save(source, 'qwen')
  width = families.SIZES['hidden_size']
  weight = np.random.default_rng(0).normal(size=(2, width))
  files = published.write(
    source, weight, out, labels=['a', 'b'], layers=3, limit=60_000
  )
  assert len(files) > 1
  auto = families.transformers.AutoModelForSequenceClassification
  theirs = auto.from_pretrained(
    out, attn_implementation='eager'
  ).eval()  # no dropout
  kept, before = theirs.state_dict(), model.state_dict()
  for name, of in kept.items():
    if name not in ('score.weight', 'model.norm.weight'):
      assert families.torch.equal(of, before[name]), name
  pad = json.loads((out / 'config.json').read_text())['pad_token_id']
  own = classifier.Classifier.load(out)
  for side in ('left', 'right'):
    ids, mask = families.batch(side)
    ids = np.where(mask > 0, ids, pad)
    found = classifier.scores(own, ids, mask)
    families.close(found, families.theirs(theirs, ids, mask))
