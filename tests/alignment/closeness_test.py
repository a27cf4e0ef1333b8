"""Texts in, closeness to references out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from prm_jax import types
from prm_jax.alignment import closeness, selection
from prm_jax.alignment.closeness import Answer
from prm_jax.models import decoder, surface
from prm_jax.models.language_model import LanguageModel
from prm_jax.rewards import gaussian_likeness
from prm_jax.users import population, references

WIDTH = surface.measure(['']).shape[1]
READING = {'layers': 1, 'stride': 2, 'prompt': 4, 'length': 8}


@pytest.fixture(scope='module')
def model():
  words = {w: i for i, w in enumerate(['<unk>', '\n', *'abcdefgh'])}
  tokenizer = tokenizers.Tokenizer(models.WordLevel(words, unk_token='<unk>'))
  tokenizer.pre_tokenizer = pre_tokenizers.Split('', 'isolated')
  config = decoder.DecoderConfig(10, 16, 24, 2, 4, 2, 4)
  ids = jnp.zeros((1, 1), jnp.int32)
  params = decoder.Decoder(config).init(
    jax.random.key(0), ids, ids, jnp.ones((1, 1, 1, 1), bool)
  )
  return LanguageModel(config, params, tokenizer, 'f' * 64)


@pytest.fixture(scope='module')
def judge(model):
  params = gaussian_likeness.likeness(dim=4).init(
    jax.random.key(1), types.Spec(16 + WIDTH, 1)
  )
  params['log_between'] = jnp.full(4, 2.0)
  card = {
    'kind': 'likeness',
    'same_prompt': False,
    'reading': READING,
    'fingerprint': 'f' * 64,
  }
  return closeness.judge(model, jax.tree.map(np.asarray, params), card)


def test_the_reference_itself_is_closest(judge):
  known = [Answer('ab', 'cccc')]
  candidates = [Answer('ab', text) for text in ('cccc', 'dede', 'hfgh', '')]
  found = closeness.closeness(judge, known, candidates)
  assert np.isfinite(found).all()
  assert found.argmax() == 0
  # Best-of-n towards a reference picks it too.
  system = types.System(judge.reward, population.population())
  own = closeness.encode(judge, known)
  context = references.References(own[None], jnp.ones((1, 1)))
  choice = selection.best_of_n(
    system,
    {'reward': judge.params},
    closeness.encode(judge, candidates)[None],
    context,
  )
  assert choice.pick[0] == 0


def test_references_to_the_same_prompt_come_first(judge):
  own, other = Answer('ab', 'cccc'), Answer('ef', 'gggg')
  candidate = [Answer('ab', 'dede')]
  both = closeness.closeness(judge, [own, other], candidate)
  np.testing.assert_allclose(
    both, closeness.closeness(judge, [own], candidate), atol=1e-5
  )
  elsewhere = [Answer('h', 'dede')]
  found = closeness.closeness(judge, [own, other], elsewhere)
  alone = closeness.closeness(judge, [own], elsewhere)
  assert abs(found - alone).max() > 1e-4


def test_without_references_nothing_is_known(judge):
  found = closeness.closeness(judge, [], [Answer('ab', 'dede')])
  np.testing.assert_allclose(found, 0, atol=1e-6)


def test_other_parameters_and_models_are_refused(model):
  with pytest.raises(ValueError, match='no parameters of a policy discrim'):
    closeness.judge(model, {}, {'method': 'pref'})
  with pytest.raises(ValueError, match='hidden states of another model'):
    closeness.judge(model, {}, {'kind': 'likeness', 'fingerprint': 'e' * 64})
