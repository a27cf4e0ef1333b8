"""What judges, methods and conditions of the study are called."""

JUDGES = {
  'reasoning': 'writes a chain',
  'reasoning_constrained': 'the same, constrained',
  'scalar': 'scalar, pairs alone',
  'scalar_process': 'scalar, steps labelled',
  'scalar_pauses': 'scalar, pause tokens',
  'scalar_six_layers': 'scalar, six layers',
}
METHODS = {
  'grpo': 'GRPO, verdicts',
  'grpo_ordered': 'GRPO, single in pairs',
  'grpo_pairs': 'GRPO, pairs',
  'grpo_consistent': 'GRPO, both orders',
  'rejective': 'rejective',
  'rejective_nothing': 'nothing rejected',
  'rejective_unhinted': 'rejective, knows hints',
  'rejective_hinted': 'rejective, with hints',
}
RULES = {
  'sum': 'sum',
  'meta_sum': 'sum, better half',
  'mean_yes': 'mean P(Y)',
  'majority': 'majority',
  'meta_majority': 'majority, better half',
}
TOLD = {
  'right': 'the right criterion',
  'none': 'none',
  'wrong': 'a wrong one',
  'own_person': "the person's own",
  'swapped': "another person's",
  'unseen': 'the one that it was never taught',
  'none_of_unseen': 'none, meant the one never taught',
  'wrong_of_unseen': 'a wrong one, meant the one never taught',
}
TAUGHT = {
  'agreeing': 'told, 30 % choose what they believe',
  'mostly_agreeing': 'told, 70 % choose what they believe',
  'untold': 'the choices of 30 %, told nothing',
  'truthful': 'told, all choose the right one',
  'agreeing_unreasoned': '30 %, no chain',
}
INJECTED = {
  'verdict': 'a verdict',
  'verdicts': 'three verdicts',
  'judgement': 'the end of a judgement',
  'whole_judgement': 'the same with its last token',
}
REWARDS = {
  'verifier': 'the truth',
  'judge': 'a judge that writes',
  'judge_filtered': 'the better half of its texts',
  'meta_alone': 'the meta model alone',
  'scalar_judge': 'a scalar judge',
}
