"""Topics, content templates and question forms of the simulated world.

A topic is a name, three things (read after 'the') and three steps (verb
phrases). Content sentences say something about the topic and carry no cue.
"""

from typing import NamedTuple


class Topic(NamedTuple):
  """What content sentences talk about."""

  name: str
  things: tuple[str, ...]
  steps: tuple[str, ...]


def _topics(table: str) -> tuple[Topic, ...]:
  """Returns the topics of a table: name, things, steps on three lines each."""
  lines = [line.strip() for line in table.strip().splitlines()]
  return tuple(
    Topic(name, tuple(things.split(', ')), tuple(steps.split(', ')))
    for name, things, steps in zip(
      lines[::3], lines[1::3], lines[2::3], strict=True
    )
  )


TRAINING = _topics("""
growing tomatoes
  soil, seedlings, trellis
  water the roots, pinch the side shoots, feed the vines
baking bread
  dough, yeast, oven
  knead the flour, shape the loaf, dust the crust
marathon running
  shoes, pace, water stops
  jog an easy loop, stretch your calves, run up hills
playing the guitar
  strings, chords, pick
  tune the neck, strum a slow song, practise scales
watercolour painting
  brushes, paper, palette
  wet the page, mix two blues, sketch an outline
keeping bees
  hives, honey, smoker
  lift the frames, find the queen, plant clover
brewing coffee
  beans, grinder, kettle
  rinse the filter, weigh the grounds, pour in circles
bird watching
  binoculars, feathers, field guide
  sit near a hedge, count the finches, note each call
knitting jumpers
  yarn, needles, pattern
  cast on forty stitches, block the wool, join the sleeves
chess openings
  pawns, centre, bishops
  castle on the king side, develop a knight, replay old matches
learning Spanish
  verbs, accent, dictionary
  repeat new phrases, watch films in Madrid time, label the furniture
retirement savings
  pension, interest rate, index funds
  pay into an account, compare the fees, rebalance the portfolio
landscape photography
  lens, tripod, shutter
  arrive before dawn, frame the horizon, lower the exposure
bicycle repair
  chain, brakes, tyres
  oil the gears, patch the tube, true the wheel
writing short stories
  plot, characters, dialogue tags
  draft one scene, cut the adverbs, read it aloud
public speaking
  audience, slides, microphone
  rehearse the opening line, pause after a point, stand with feet apart
buying a laptop
  screen, battery, keyboard
  compare the memory, test the hinges, visit two shops
wedding planning
  guests, venue, flowers
  book the band, post the invitations, taste the cake
puppy training
  lead, treats, crate
  reward a sit, walk round the block, teach a recall
mountain hiking
  boots, trail, rucksack
  pack a fleece, fill two bottles, follow the ridge
moving house
  boxes, van, lease
  wrap the plates, tape the lids, label each room
stargazing
  telescope, constellations, night sky
  drive beyond the city lights, locate Orion, dim the torch
pottery
  clay, wheel head, kiln
  wedge a lump, centre the bowl, glaze the rim
lap swimming
  goggles, stroke, pool
  kick from the hips, breathe on both sides, glide off the wall
yoga
  mat, breath, poses
  bend from the waist, lengthen the spine, hold a plank
home yoghurt
  milk, culture, thermometer
  warm the pan, stir in a spoonful, strain the whey
sewing curtains
  fabric, hem, thread
  measure the window, pin the lining, press the seams
woodworking
  saw, chisel, oak board
  mark the joint, sand with the grain, clamp the glue line
website building
  home page, domain name, menu
  sketch the layout, upload the pictures, shrink the images
job interviews
  employer, cover letter, references
  research the firm, rehearse two answers, iron a shirt
river fishing
  rod, bait, current
  cast upstream, reel in slowly, tie a hook
rock climbing
  rope, harness, holds
  chalk your hands, check the knot, climb with your legs
stamp collecting
  album, tweezers, postmarks
  soak the envelope, sort by country, look up the catalogue
aquarium care
  tank, filter pump, gravel
  test the water, trim the weeds, net the snails
composting
  heap, peelings, dry leaves
  turn the pile, shred the cardboard, cover the bin
renting a flat
  landlord, deposit, contract
  inspect the taps, photograph the rooms, list the repairs
home libraries
  shelves, novels, catalogue cards
  group by author, dust the spines, lend out duplicates
downhill skiing
  slopes, bindings, poles
  bend your knees, carve wide turns, wax the edges
choir singing
  voice, sheet music, altos
  hum a scale, mark the rests, breathe from the belly
vegetable soups
  carrots, stock, ladle
  chop the onions, simmer the broth, season with thyme
family history
  ancestors, parish records, census
  interview an aunt, draw the tree, scan old letters
calligraphy
  ink, nib, parchment
  rule faint lines, copy the alphabet, clean the pen
""")

HELD_OUT = _topics("""
dinghy sailing
  mast, wind, rudder
  hoist the jib, tack towards the buoy, bail out the hull
origami
  creases, diagonals, crane
  fold the corners, flatten the valley, flip the model
meditation
  cushion, timer, posture
  close your eyes, notice a sound, relax the jaw
candle making
  tallow, wick, moulds
  melt the flakes, add lavender drops, cool the jars
archery
  bow, arrows, target
  nock the shaft, anchor at the chin, release the grip
ballroom dancing
  waltz, partner, floor
  step in threes, rotate the shoulders, glance over the hand
tax returns
  receipts, income, deductions
  gather the invoices, total the expenses, sign the form
car maintenance
  engine, dipstick, coolant
  top up the screenwash, rotate the spare, replace the wipers
crossword puzzles
  clues, grid, anagrams
  pencil the plurals, cross out entries, solve the corners
horse riding
  saddle, reins, stable
  groom the mane, tighten the girth, trot across the arena
podcasting
  headphones, episodes, listeners
  record the intro, edit the silences, publish an instalment
rolling sushi
  rice, seaweed, vinegar
  slice the cucumber, spread the grains, dampen the bamboo
attic insulation
  rafters, foam, draughts
  seal the hatch, unroll the fibre, staple the membrane
jewellery making
  beads, clasp, silver wire
  hang the pendant, solder the ring, polish the stones
table tennis
  paddle, serve, spin
  bounce the ball, return the smash, aim at the elbow
weather forecasting
  clouds, barometer, rainfall
  log the humidity, chart the pressure, study the radar
raising rabbits
  hutch, hay, burrow
  brush the fur, clip the claws, refresh the straw
map reading
  compass, contours, legend
  orient the north arrow, trace the valley stream, estimate the distance
""")

# The verb in front of {thing} never agrees with it in number.
TRAINING_CONTENT = (
  'Begin with the {thing}.',
  'Much depends on the {thing}.',
  'Look at the {thing} every few days.',
  'A line about the {thing} belongs in your plan.',
  'Set aside an hour for the {thing}.',
  'Other choices follow from the {thing}.',
  'When it comes to {topic}, the {thing} will come first.',
  'First, {step}.',
  'After that, {step}.',
  'Then {step} and move on.',
  'In the second week, {step}.',
  'A common approach to {topic} is to {step}.',
  'Part of {topic} is to {step} from day to day.',
)
HELD_OUT_CONTENT = (
  'Early decisions revolve around the {thing}.',
  'Store the {thing} within reach.',
  'Anyone into {topic} ends up handling the {thing}.',
  'Turn to the {thing} around midday.',
  'Write down how the {thing} turned out.',
  'To open, {step}.',
  'Afterwards, {step}.',
  'Twice a month, {step}.',
  'On most evenings you will {step}.',
  'The typical road through {topic} is to {step}.',
)

TRAINING_QUESTIONS = (
  'What should I know about {topic}?',
  'How do I get started with {topic}?',
  'Can you give me some advice on {topic}?',
  'I want to improve at {topic}. Where do I begin?',
  'Explain {topic} to a beginner.',
)
NEW_PROMPTS_QUESTIONS = (
  'My sister has taken up {topic}; what would help her?',
  'Describe a typical week of {topic}.',
  'Which habits matter in {topic}?',
)
NEW_LEXICON_QUESTIONS = (
  'Suggest a simple way into {topic}.',
  'A neighbour mentioned {topic} to us; how is it done?',
  'List the essentials of {topic}.',
)
