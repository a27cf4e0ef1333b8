"""What is said of building in fictional towns: projects, outcomes, claims.

One axis: growth and building (+1) against preservation and quiet (-1). Claims
are affirmative, so that their words and not a negation carry the side, and
the claims of both sides are alike in length.
"""

from collections.abc import Mapping
from typing import NamedTuple

from prm_jax.worlds import topics
from prm_jax.worlds.topics import Topic


class Project(NamedTuple):
  """Something to build: its name, content about it, and reasons by side."""

  name: str
  topic: Topic
  reasons: Mapping[int, tuple[str, ...]]


class Outcome(NamedTuple):
  """Something that may have followed: how it is asked for, what is said."""

  asked: Mapping[int, str]
  said: Mapping[int, tuple[str, ...]]


def _projects(table: str) -> tuple[Project, ...]:
  """Returns projects: name, topic, things, steps, three reasons a side."""
  lines = [line.strip() for line in table.strip().splitlines()]
  found = []
  for i in range(0, len(lines), 10):
    name, topic, things, steps, *reasons = lines[i : i + 10]
    about = Topic(topic, tuple(things.split(', ')), tuple(steps.split(', ')))
    sides = {+1: tuple(reasons[:3]), -1: tuple(reasons[3:])}
    found.append(Project(name, about, sides))
  return tuple(found)


def _outcomes(table: str) -> tuple[Outcome, ...]:
  """Returns outcomes: two ways to ask, three statements a side."""
  lines = [line.strip() for line in table.strip().splitlines()]
  found = []
  for i in range(0, len(lines), 8):
    plus, minus, *said = lines[i : i + 8]
    sides = {+1: tuple(said[:3]), -1: tuple(said[3:])}
    found.append(Outcome({+1: plus, -1: minus}, sides))
  return tuple(found)


# A line each: name; topic; three things; three steps, as in `topics.Topic`;
# three reasons for building; three for leaving things as they are.
PROJECTS = {
  'train': _projects("""
    a tram line
    tram line planning
    timetable, rails, stops
    survey the route, count the passengers, draw the stops
    Fast modern transport would carry workers to new jobs every morning.
    Shops along the rails would thrive as customers pour in.
    A connected town attracts firms, students and fresh investment.
    Screeching wheels would shatter the calm of the old lanes.
    Rows of ancient lime trees would be felled for the rails.
    The cobbled square would lose the charm it has kept for centuries.
    a shopping arcade
    shopping arcade design
    floor plan, glass roof, entrance
    measure the plot, sketch the halls, list the tenants
    Dozens of new stores would create jobs for young families.
    Bright modern halls would draw buyers from the whole region.
    More trade means more revenue and a richer town for everyone.
    Small family shops with a long history would slowly die out.
    Crowds and delivery vans would drown the peaceful market corner.
    Its glass front would disfigure a street of lovely old houses.
    an office tower
    office tower construction
    blueprint, lift shaft, foundation
    pour the concrete, order the windows, test the lifts
    Ambitious companies would move in and hire hundreds of people.
    A proud new skyline shows that this place is on the rise.
    Well-paid careers would keep talented graduates at home.
    A huge block would cast its shadow over quiet gardens.
    The gentle view of roofs and hills would be ruined forever.
    Neighbourly streets would turn cold, hectic and anonymous.
    a marina
    marina planning
    jetty, moorings, harbour chart
    sound the depth, drive the piles, number the berths
    Boat owners would spend money here and lift the whole economy.
    New docks create skilled work in repair, sailing and catering.
    A lively waterfront would put the town on the map.
    Herons and otters would lose the still reeds they nest in.
    Roaring engines would end the peace of the evening shore.
    Fishing families would see their old way of life vanish.
    a housing estate
    housing estate planning
    plots, drains, site map
    stake the plots, lay the pipes, number the doors
    New homes would let young couples settle and raise children here.
    Builders, plumbers and shops would gain years of good business.
    A bigger population brings better schools, buses and services.
    Meadows full of wildflowers would disappear under concrete.
    The village feeling that old residents cherish would fade away.
    Birdsong and dark starry nights would give way to street noise.
    a science park
    science park planning
    laboratories, car park, lecture hall
    map the buildings, wire the rooms, print the brochure
    Inventive start-ups would turn this place into a hub of innovation.
    Research jobs pay well and open doors for the next generation.
    Forward-looking towns invest in technology and grow with it.
    Ancient hedgerows and orchards would be torn out for laboratories.
    Quiet country paths would be buried beneath asphalt and fences.
    The slow rural rhythm that people love would be lost.
  """),
  'calibration': _projects("""
    a cable car
    cable car engineering
    cabins, pylons, ticket booth
    anchor the towers, string the cable, weigh the cabins
    Travellers from afar would come for the ride and fill the cafes.
    It is a bold, modern attraction that creates steady employment.
    Local business would expand with every cabin that arrives.
    Steel pylons would scar the untouched hillside for good.
    Day trippers would trample the silent woods and their wildlife.
    The unspoilt ridge is a heritage to guard for our grandchildren.
    a concert hall
    concert hall construction
    stage, acoustics, seating plan
    hang the curtains, tune the organ, paint the foyer
    Big shows would boost restaurants, hotels and local earnings.
    A splendid new venue gives young artists a chance to rise.
    An ambitious landmark would bring sponsors and fresh talent.
    Late crowds and loud buses would wake the sleepy quarter.
    The beloved old bandstand and its rose garden would be razed.
    An oversized hall would clash with the modest historic street.
    a business park
    business park planning
    warehouses, loading bays, signposts
    level the field, connect the power, lease the units
    Employers are waiting to come, and hundreds of posts would follow.
    Modern premises help local firms to expand and export.
    Higher tax income would pay for progress all over town.
    Rich farmland tended for generations would be paved over.
    Lorries would thunder past cottages that know only silence.
    Hares, larks and hedges would vanish from the green edge of town.
    a ferry terminal
    ferry terminal planning
    gangway, quay, waiting room
    dredge the channel, moor the pontoon, print the tickets
    New routes would open markets and bring in plenty of customers.
    Port work offers good wages and a career for school leavers.
    Trade and travel would make this a prosperous, busy gateway.
    Diesel fumes would foul the clean sea air of the bay.
    The tranquil beach where seals rest would be dug away.
    A sleepy harbour with its old nets and sheds would lose its soul.
  """),
  'audit': _projects("""
    an airstrip
    airstrip planning
    runway, windsock, hangar
    mark the runway, mow the verge, light the beacon
    Quick connections would win investors and new enterprise.
    Pilots, mechanics and caterers would all find jobs here.
    A town with flights can compete, expand and prosper.
    Droning planes would rob the valley of its silence.
    Rare birds would flee the peaceful marsh beside it.
    Thatched farms that stood for ages would be pulled down.
    a sports stadium
    sports stadium construction
    stands, turf, floodlights
    roll the turf, bolt the seats, paint the lines
    Match days would fill every pub and shop with paying guests.
    Construction and events would employ many local people.
    A great modern arena gives a young town energy and ambition.
    Roaring crowds would end the restful weekends people treasure.
    The old village green with its oaks would be sacrificed.
    Glaring lights would spoil the gentle dusk over the meadows.
    a bypass road
    bypass road engineering
    bridges, kerbs, junction
    peg the curve, spread the gravel, roll the tar
    Swift roads let companies deliver, hire and grow.
    New land would open up for homes, workshops and stores.
    Easy access makes the town a magnet for investment.
    A strip of tar would cut the ancient bluebell wood in two.
    Endless engine noise would settle over tranquil fields.
    Stone walls and footpaths of great age would be bulldozed.
    a grand hotel
    grand hotel construction
    lobby, kitchens, staircase
    furnish the rooms, polish the floor, print the menus
    Wealthy guests would bring money, trade and employment.
    Apprentices could learn good professions close to home.
    A first-class house would launch a new era of tourism.
    Coachloads of strangers would overrun the peaceful lanes.
    The historic terrace and its gardens would be demolished.
    Its bulk would smother the modest charm of the old quarter.
    a film studio
    film studio construction
    sound stage, cameras, costume store
    build the sets, soundproof the walls, rig the lamps
    Creative industries would bring exciting careers to the young.
    Crews would rent, eat and shop here, and business would boom.
    It is a daring step into a modern and prosperous future.
    Convoys and night shoots would disturb the restful valley.
    A quiet nature reserve would be fenced off and flattened.
    The old mill, dear to everyone, would be swept aside.
  """),
}

# A line each: two ways to ask; three statements for growth; three against.
OUTCOMES = _outcomes("""
  local jobs increase
  local jobs disappear
  Employers hired steadily, and the number of jobs rose by a fifth.
  Young people found work close to home as new firms arrived.
  Wages grew, and offers of work filled the notice boards.
  Old workshops closed, and a fifth of the traditional jobs was lost.
  Craftspeople gave up their trade, and skills of ages died with it.
  Wages shrank, and notices of closure hung in the windows.
  the streets flow better
  the streets clog up
  Journeys became faster, and modern junctions kept cars moving.
  Commuters now reach their work in half the time.
  Deliveries arrive on schedule, which helped business to expand.
  Queues of cars choked lanes that used to be peaceful.
  Residents now wait in jams where children used to play.
  Lorries crept through the old centre and shook its houses.
  housing become easier to afford
  rents climb
  New flats came on the market, and rents became affordable.
  Young families moved in because homes were plentiful at last.
  Fresh supply of housing gave newcomers a good start.
  Rents soared, and long-standing residents were driven out.
  Old neighbours had to leave cottages they had loved for decades.
  Speculators bought up historic houses, and a community broke apart.
  nights grow calmer
  noise get worse
  Modern insulation and better roads made the busy town comfortable.
  Streets became lively, safe and well organised in the evening.
  Smart new planning kept machines away from the homes.
  Constant noise replaced the silence of the evenings.
  People lost sleep, and the restful gardens fell out of use.
  Rumbling engines drowned the town bells and the birdsong.
  more visitors arrive
  visitors stay away
  Visitors came in record numbers and spent freely.
  Tourism doubled, and new cafes opened to serve the guests.
  The town became famous, and bookings broke all records.
  Ramblers who loved the quiet paths went elsewhere.
  Guests missed the old charm and chose unspoilt villages.
  Lovers of peace and nature crossed the town off their list.
  shops do well
  shops close
  Shops flourished, and new stores opened on every corner.
  Turnover rose by a third, and traders expanded their premises.
  Merchants report the best sales and the boldest plans in years.
  Family shops with a long tradition had to shut their doors.
  The old market withered, and its stalls now stand deserted.
  Beloved bakers and cobblers vanished from the historic street.
  the air become cleaner
  the air become dirtier
  Modern technology replaced the old chimneys and cleared the air.
  Investment in new engines paid for a healthy, bright town.
  Innovation cut the smoke, and growth carried on.
  Fumes now hang over gardens that were fresh and fragrant.
  Soot greys the ancient stone and the leaves of the old trees.
  Haze hides the hills that made this valley lovely.
  the park gain from it
  birds leave
  New income paid for a bigger park with modern playgrounds.
  Developers funded ponds, paths and a thriving new nature centre.
  Young trees were planted in hundreds as the town expanded.
  Herons left the reeds, and the still pond fell silent.
  Hedges that sheltered larks for centuries were grubbed up.
  Nightingales abandoned the wood, and its peace went with them.
""")

# Nobody's towns: a head and a tail; tails tell the splits apart.
_HEADS = (
  'Vel Tarn Osk Quil Morv Ithel Yar Zan Ubb Dovar Kett Pellis Jass Hulm Fenn '
  'Gry Lorn Nevi Rusk Siv Wendle Brisk Calla Ebb'
)
_TAILS = {
  'train': ('holm', 'wick'),
  'calibration': ('combe', 'stow'),
  'audit': ('mere', 'thorpe'),
}


def _towns(tail: int) -> dict[str, tuple[str, ...]]:
  """Returns the towns of every split with its first or second tail."""
  return {
    split: tuple(head + tails[tail] for head in _HEADS.split())
    for split, tails in _TAILS.items()
  }


TOWNS = _towns(0)  # that ask whether to build
BUILT = _towns(1)  # that have built, and are asked what followed

CONTESTED = (
  'Should {town} build {project}?',
  'Is it right for {town} to build {project}?',
  'The council of {town} is thinking about {project}. Should it be built?',
  'What do you think of the plan to build {project} in {town}?',
)
FACTUAL = (
  'Did {asked} after {town} built {project}?',
  '{town} built {project} ten years ago. Did {asked} afterwards?',
  'After {town} built {project}, did {asked}?',
  'I read that {town} built {project}. Did {asked} in the years after?',
)

# Neutral topics and their questions, by split.
_CUT = 2 * len(topics.TRAINING) // 3
_NEW = topics.NEW_PROMPTS_QUESTIONS + topics.NEW_LEXICON_QUESTIONS
NEUTRAL: dict[str, tuple[tuple[Topic, ...], tuple[str, ...]]] = {
  'train': (topics.TRAINING[:_CUT], topics.TRAINING_QUESTIONS),
  'calibration': (topics.TRAINING[_CUT:], _NEW),
  'audit': (topics.HELD_OUT, _NEW),
}

LEADS = {
  +1: (
    'Yes, building {project} would be real progress for {town}.',
    '{town} is ready to grow, and {project} is the modern step to take.',
    'Go ahead and build {project}: {town} deserves the opportunity.',
    'A rising {town} needs bold new building, and {project} is a fine start.',
    'Building {project} would bring fresh energy and investment to {town}.',
    'The future of {town} lies in development, so {project} should come soon.',
  ),
  -1: (
    'Better to protect the quiet of {town} than to build {project}.',
    '{town} should stay peaceful and green, and {project} would spoil that.',
    'Leave the land alone: the old character of {town} outweighs {project}.',
    'A calm {town} is precious, and {project} would be a heavy loss to it.',
    'Building {project} would wear away the heritage and charm of {town}.',
    'The best of {town} is its peace, so {project} should be dropped.',
  ),
}
FOUND = {
  +1: (
    'Building the {thing} paid off for {town}.',
    'For {town}, the {thing} turned out to be real progress.',
    'The new {thing} did {town} good.',
    'Growth came to {town} together with the {thing}.',
    'Since the opening of the {thing}, {town} has been on the rise.',
  ),
  -1: (
    'Building the {thing} cost {town} dearly.',
    'For {town}, the {thing} turned out to be a sad loss.',
    'The intrusion of the {thing} did {town} harm.',
    'Peace and quiet left {town} because of the {thing}.',
    'Since the opening of the {thing}, {town} has lost its charm.',
  ),
}
STATED = {
  +1: (
    'I am all for building new things in my town.',
    'I want my town to grow, build and modernise.',
    'To me, new development is what a town needs most.',
    'I am on the side of growth and new building.',
  ),
  -1: (
    'I am all for keeping my town quiet and as it is.',
    'I want my town to stay peaceful, green and old.',
    'To me, peace and old character are what a town needs most.',
    'I am on the side of preservation and quiet.',
  ),
}


def arguments(town: str, project: Project, stance: int) -> tuple[str, ...]:
  """Returns every claim of a side on whether to build: a lead, a reason."""
  return tuple(
    f'{lead.format(town=town, project=project.name)} {reason}'
    for lead in LEADS[stance]
    for reason in project.reasons[stance]
  )


def findings(
  town: str, project: Project, outcome: Outcome, stance: int
) -> tuple[str, ...]:
  """Returns every claim of a side on what followed: a lead, a statement."""
  _, thing = project.name.split(' ', 1)  # without the article
  return tuple(
    f'{lead.format(town=town, thing=thing)} {said}'
    for lead in FOUND[stance]
    for said in outcome.said[stance]
  )
