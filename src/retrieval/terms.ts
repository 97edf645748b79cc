/** Words of English that carry no subject of their own: Lucene's stop words, and what questions are made of. */
const STOP_WORDS: ReadonlySet<string> = new Set(
  (
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this " +
    "to was will with " +
    "am can could did do does had has have he her him his how i its many may me might much must my our ours shall she " +
    "should than them those us we were what when where which who whom whose why would you your yours"
  ).split(" "),
);

/** The words of a text as the index's tokenizer (`unicode61`) sees them: runs of letters, marks, digits; lower case. */
export function words(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{M}\p{N}\p{Co}]+/gu) ?? [];
}

/** Most terms of one query: what comes later in a very long question does not change what it is about. */
const MOST_TERMS = 64;

/** The distinct terms to search for. All words when nothing but stop words was asked. */
export function searchTerms(query: string): string[] {
  const all = [...new Set(words(query))];
  const content = all.filter((word) => !STOP_WORDS.has(word));
  return (content.length > 0 ? content : all).slice(0, MOST_TERMS);
}
