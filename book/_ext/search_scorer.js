// Ranks the results of a search: pages of the book, then pages of the API, then single names of the library.
// A name that is searched in full and is no plain word, such as build_model, comes first.
// Sphinx copies this text into language_data.js, which the search page loads before its own scores.
var Scorer = {
  objNameMatch: 10000, // the query is the name itself or its last part
  objPartialMatch: 0,
  objPrio: {0: 2, 1: 1, 2: 0},
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
  score: ([docname, title, anchor, description, score]) => {
    const isName = description !== null; // pages have no description
    if (isName && score >= Scorer.objNameMatch && /[^_]_[^_]/.test(title.split(".").pop())) return score;
    if (isName) return score - 3 * Scorer.objNameMatch;
    return docname.startsWith("book/api/") ? score - Scorer.objNameMatch : score;
  },
};
