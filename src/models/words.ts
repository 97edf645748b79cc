/**
 * Words as an extractive model compares them: lower case, what carries no subject left out, inflection stripped.
 * The stems are rough and only ever compared with each other.
 */
const SUBJECTLESS: ReadonlySet<string> = new Set(
  (
    "a about after again ago all also am an and any anything anyway are as at be because been before being between but by " +
    "can cannot could did do does doing done during each either else ever every exactly few for from further get gets " +
    "getting give given go goes going gone got had happen happens has have having he hello help her here hers hi him his how " +
    "however i if in into is it its just know let like long made make many may maybe me might mine more most much must my " +
    "need needs no nor not now of off often ok on once one ones only onto or other our ours out over per please possible " +
    "quite rather really say says shall she should since so some someone something still such take takes tell than " +
    "thank thanks that the their theirs them then there these they thing things this those though to too under until up " +
    "upon us very via want wants was way we well were what whatever when where whether which while who whom whose why " +
    "will with within without would yes yet you your yours"
  ).split(" "),
);

/** Irregular forms, and the words by which people ask for a price. */
const CANONICAL: ReadonlyMap<string, string> = new Map(
  Object.entries({
    apartment: "apartment",
    bought: "buy",
    broke: "break",
    broken: "break",
    came: "come",
    cost: "price",
    costs: "price",
    fee: "price",
    fees: "price",
    gave: "give",
    department: "department",
    held: "hold",
    kept: "keep",
    lost: "lose",
    paid: "pay",
    sent: "send",
    sold: "sell",
    stole: "steal",
    stolen: "steal",
    worn: "wear",
    wore: "wear",
    wrote: "write",
    written: "write",
  }),
);

/** The words of a text, lower case, in order. */
function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{M}\p{N}]+/gu) ?? [];
}

const MONEY = /(?:\b(?:EUR|USD|GBP|CHF)|[€$£]) ?\d/;

/** The stems of a text's words, each once. A text that names a sum of money speaks of a price. */
export function stemsOf(text: string): Set<string> {
  const stems = new Set(wordsOf(text).map(stem));
  return MONEY.test(text) ? stems.add("price") : stems;
}

/** The stems of what a question is about, each once. */
export function subjectsOf(question: string): Set<string> {
  const spoken = question
    .toLowerCase()
    .replace(/(\p{L})['’](s|t|re|ve|ll|d|m)\b/gu, (_all, last: string, ending: string) =>
      ending === "t" ? ` ${last}` : last,
    );
  return new Set(
    wordsOf(spoken)
      .filter((word) => !SUBJECTLESS.has(word) && (word.length > 1 || /\p{N}/u.test(word)))
      .map(stem),
  );
}

/** [ending, what takes its place, least length of what remains before it] */
const ENDINGS: readonly (readonly [string, string, number])[] = [
  ["ies", "y", 2],
  ["sses", "ss", 1],
  ["ches", "ch", 2],
  ["shes", "sh", 2],
  ["xes", "x", 2],
];

const DERIVED: readonly (readonly [string, number])[] = [
  ["ments", 4],
  ["ment", 4],
  ["ations", 4],
  ["ation", 4],
  ["able", 4],
  ["ably", 4],
  ["ing", 3],
  ["ed", 3],
  ["er", 4],
  ["ly", 4],
  ["al", 4],
];

function stem(word: string): string {
  const regular = CANONICAL.get(word);
  if (regular !== undefined) return regular;
  if (word.length < 4 || /\p{N}/u.test(word)) return word;
  const single = singular(word);
  const [ending] = DERIVED.find(([end, least]) => single.endsWith(end) && single.length - end.length >= least) ?? [""];
  const bare = single.slice(0, single.length - ending.length);
  // shipp(ing) → ship, cancell(ation) → cancel; but sell, press stay.
  const undoubled = ending !== "" && /([bdgklmnprt])\1$/.test(bare) && bare.length > 4 ? bare.slice(0, -1) : bare;
  return undoubled.length > 4 ? undoubled.replace(/[ey]$/, "") : undoubled;
}

function singular(word: string): string {
  for (const [end, instead, least] of ENDINGS) {
    if (word.endsWith(end) && word.length - end.length >= least) return word.slice(0, -end.length) + instead;
  }
  return word.endsWith("s") && !/(ss|us|is)$/.test(word) ? word.slice(0, -1) : word;
}
