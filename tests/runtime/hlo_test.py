# ruff: noqa: E501
import pytest

from prm_jax.runtime import hlo

# What XLA writes, cut down: five rounds that gather a kernel, which was half
# precision before a processor widened it, and one product outside.
PROGRAM = """HloModule jit_step, is_scheduled=true

%widened (param_0: f32[5,2,8]) -> f32[2,8] {
  %param_0 = f32[5,2,8]{2,1,0} parameter(0)
  %convert.1 = bf16[2,8]{1,0} convert(%param_0)
  %convert.2 = f32[2,8]{1,0} convert(%convert.1)
  ROOT %bitcast.1 = f32[2,8]{1,0} bitcast(%convert.2)
}

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%body (arg: (s32[], f32[3,8], f32[5,2,8])) -> (s32[], f32[3,8], f32[5,2,8]) {
  %arg = (s32[], f32[3,8]{1,0}, f32[5,2,8]{2,1,0}) parameter(0)
  %w = f32[5,2,8]{2,1,0} get-tuple-element(%arg), index=2
  %x = f32[3,8]{1,0} get-tuple-element(%arg), index=1
  %fused = f32[2,8]{1,0} fusion(%w), kind=kLoop, calls=%widened
  %gathered = f32[8,8]{1,0} all-gather(%fused), channel_id=1, dimensions={0}
  %dot.1 = f32[3,8]{1,0} dot(%x, %gathered), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %out = (s32[], f32[3,8]{1,0}, /*index=2*/f32[5,2,8]{2,1,0}) tuple(%w)
}

%condition (arg: (s32[], f32[3,8], f32[5,2,8])) -> pred[] {
  ROOT %less = pred[] constant(true)
}

ENTRY %main (x: f32[3,8], w: f32[5,2,8]) -> f32[3,3] {
  %x.1 = f32[3,8]{1,0} parameter(0)
  %start = (s32[], f32[3,8]{1,0}, /*index=2*/f32[5,2,8]{2,1,0}) tuple(%x.1)
  %loop = (s32[], f32[3,8]{1,0}, f32[5,2,8]{2,1,0}) while(%start), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %last = f32[3,8]{1,0} get-tuple-element(%loop), index=1
  %dot.2 = f32[3,3]{1,0} dot(f32[3,8]{1,0} %last, f32[3,8]{1,0} %x.1), lhs_contracting_dims={1}, rhs_contracting_dims={1}
  %plain = f32[6,8]{1,0} all-gather(%last), channel_id=3, dimensions={0}
  ROOT %reduced = (f32[3,3]{1,0}, f32[]) all-reduce(%dot.2, %c), channel_id=2, to_apply=%add
}
"""


def test_a_loop_counts_as_often_as_it_runs():
  found = hlo.read(PROGRAM)
  assert found.flops == 5 * 2 * 3 * 8 * 8 + 2 * 3 * 3 * 8
  assert found.unknown == 0
  times = {(one.kind, one.shapes): one.times for one in found.collectives}
  assert times == {
    ('all-gather', ('bf16[8,8]',)): 5,  # as an accelerator would move it
    ('all-gather', ('f32[6,8]',)): 1,
    ('all-reduce', ('f32[3,3]', 'f32[]')): 1,
  }


def test_bytes_and_elements_of_a_collective():
  one = hlo.Collective('all-reduce', ('bf16[8,4]', 'f32[]', 'pred[3]'), 2)
  assert one.elements == 32
  assert one.bytes == 64 + 4 + 3
  assert hlo.Collective('all-gather', ('f8e4m3fn[8]',), 1).bytes == 8


def test_what_the_text_does_not_say_is_said():
  text = PROGRAM.replace('"known_trip_count":{"n":"5"}', '')
  found = hlo.read(text)
  assert found.unknown == 1
  assert found.flops == 2 * 3 * 8 * 8 + 2 * 3 * 3 * 8
  with pytest.raises(ValueError, match='no ENTRY'):
    hlo.read('nothing of the kind')


def test_started_collectives_count_once_with_what_they_leave():
  text = PROGRAM.replace(
    '%plain = f32[6,8]{1,0} all-gather(%last)',
    '%plain = (f32[3,8]{1,0}, f32[6,8]{1,0}) all-gather-start(%last)',
  )
  shapes = [one.shapes for one in hlo.read(text).collectives]
  assert ('f32[6,8]',) in shapes
