"""A judgement's reason and time: read for histories, and kept nowhere."""

import datetime

import pytest

from prm_jax.data import load, schema
from prm_jax.data.builders.ukp_convarg import written_reasons
from tests.data import ukp_convarg_rows


def test_reasons_stand_beside_the_judgements_that_are_loaded(
  tmp_path, private_cache
):
  ukp_convarg_rows.write(tmp_path)
  found = written_reasons.read(tmp_path)
  assert not private_cache.exists()
  assert schema.code_judgements(one.judgement for one in found).texts == (
    load.judgements('ukp_convarg', data_dir=tmp_path).texts
  )
  assert found[0].reason == ukp_convarg_rows.JUDGEMENTS[0]['reason']
  assert found[0].time == datetime.datetime(2016, 1, 2, 12)
  assert found[0].judgement.label == 1


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'reason': None}, r'judgements\.jsonl\.gz:2: reason: expected str'),
    ({'time': 'noon'}, r"gz:2: time: 'noon' is not like 2016-"),
    ({'choice': 'a3'}, r"gz:2: choice: 'a3' is unknown"),
    ({'a1': 'none'}, r'gz:2: no argument'),
  ],
)
def test_malformed_rows_are_named(tmp_path, change, message):
  ukp_convarg_rows.write(tmp_path, {1: change})
  with pytest.raises(schema.SchemaError, match=message) as caught:
    written_reasons.read(tmp_path)
  assert 'because' not in str(caught.value)
