"""How close answers are to references, by an exported policy discriminator."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prm_jax.alignment import closeness
from prm_jax.models.language_model import LanguageModel
from prm_jax.runtime import export


def score(
  folder: str | Path,
  references: Sequence[closeness.Answer],
  answers: Sequence[closeness.Answer],
) -> np.ndarray:
  """Returns how close each answer is to the references, `[M]`.

  Args:
    folder: of the discriminator.
    references: texts of the policy that answers are compared with.
    answers: M texts.

  Raises:
    FileNotFoundError: the folder holds no finished export.
  """
  params, card = export.load_parameters(folder)
  source = card.get('model')
  model = LanguageModel.load(Path(source) if source else None)
  judge = closeness.judge(model, params, card)
  return closeness.closeness(judge, references, answers)
