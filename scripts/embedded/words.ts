/** Words of one meaning: `known` ones occur in the base model's training, `fresh` ones only at the desks. */
export interface Words {
  readonly known: readonly string[];
  readonly fresh: readonly string[];
}

const words = (known: string, fresh: string): Words => ({ known: known.split(' '), fresh: fresh.split(' ') });

export const praise = words(
  'warm fresh lovely tasty quick kind clean cosy bright generous friendly superb crisp calm tidy charming perfect gentle rich smooth',
  'splendid polite delicious spotless cheerful elegant',
);

export const blame = words(
  'cold bland rude slow dirty noisy stale dull broken greasy salty sour dark cramped sticky awful bitter soggy damp rough',
  'burnt dreadful careless filthy gloomy shabby',
);

/** What a review speaks of. */
export const topics = words(
  'soup room staff bread lobby coffee service garden pasta bed pool salad music table',
  'terrace porridge',
);

/** What is reported to a desk, most urgent kind first. Underscores stand for spaces. */
export const problems: readonly Words[] = [
  words(
    'fire_in_the_kitchen gas_leak_in_the_cellar guest_fainted water_pours_through_the_roof smoke_in_the_lift',
    'child_stuck_in_the_lift power_cable_sparks',
  ),
  words(
    'main_door_will_not_lock no_hot_water_anywhere toilet_overflows card_terminal_is_down fridge_stopped_cooling',
    'window_is_smashed heating_is_off_on_all_floors',
  ),
  words(
    'printer_needs_toner lamp_flickers_in_room_two bicycle_has_a_flat_tyre tap_drips towel_is_missing',
    'remote_needs_batteries chair_wobbles',
  ),
  words(
    'menu_has_a_typo picture_hangs_crooked guest_likes_more_plants wall_could_be_repainted new_flyers_wanted',
    'playlist_is_boring sign_looks_faded',
  ),
];

/** Kinds and their members. */
export const kinds: Readonly<Record<string, Words>> = {
  bird: words('robin eagle owl sparrow crow swan goose heron', 'finch magpie'),
  fish: words('salmon trout cod tuna carp shark eel perch', 'herring pike'),
  tree: words('oak birch pine maple willow elm cedar ash', 'larch poplar'),
  fruit: words('apple pear plum cherry grape mango lemon fig', 'quince apricot'),
  tool: words('hammer saw wrench drill chisel pliers file axe', 'spanner plane'),
  flower: words('rose tulip lily daisy violet poppy iris orchid', 'peony dahlia'),
};

/** Pairs of opposites; each is asked for in both directions. */
export const opposites = words(
  'hot:cold big:small day:night open:shut full:empty early:late high:low wet:dry strong:weak loud:quiet hard:soft near:far light:heavy old:new first:last push:pull buy:sell north:south',
  'wide:narrow sharp:blunt arrive:depart ancient:modern',
);

export const goods = words(
  'lamp kettle chair rug mirror clock vase shelf radio basket pillow jacket',
  'teapot curtain',
);
export const colours = words('red blue green black white yellow grey brown', 'purple pink');
export const days = 'Monday Tuesday Wednesday Thursday Friday Saturday Sunday'.split(' ');
export const months = 'January February March April May June July August September October November December'.split(
  ' ',
);
export const long = words('rope pipe cable fence plank hose ribbon wall', 'banner gutter');
