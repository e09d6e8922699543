//! Conditions that match a search text with products.
//!
//! Texts are compared after `search_fold`: Unicode compatibility equivalence, case-insensitive, runs of white space as one space. A
//! product's `search_text` is upper-cased only. If folding produces a different text, `product_folded` holds it (see
//! `migrations/0009_search_fold.sql`). Products older than that table match by upper case until the worker has added them
//! (`product/backfill.rs`).

use sqlx::{Postgres, QueryBuilder};
use unicode_normalization::is_nfkc;

/// Separates title and description in `search_text`.
const SEPARATOR: char = char::MAX;
/// Words that are searched separately. Each costs an index scan; the last one includes the rest of the text.
const MAX_WORDS: usize = 8;

/// A text to search for.
#[derive(Clone, Copy)]
struct Phrase<'a> {
    text: &'a str,
    /// Whether PostgreSQL estimates the number of matches from the text. Otherwise it estimates the same for any text, and so
    /// keeps the plan of a prepared statement.
    is_estimated: bool,
}

/// Adds the condition that title, description or category name of the product `p` contains a phrase. Patterns are folded
/// before they are escaped, because folding can produce a `%`.
pub(super) fn push_phrase(query: &mut QueryBuilder<Postgres>, text: &str, is_estimated: bool) {
    let phrase = Phrase { text, is_estimated };
    push_text(query, "(", "p.search_text", phrase);
    query.push(" or p.id = any(array(select product_id from product_folded where folded_text like ");
    push_pattern(query, phrase);
    query.push(")) or p.category_id = ");
    push_categories(query, "any", phrase);
    // Excludes products whose upper-cased text contains the phrase and whose folded text does not. There are few, so comparing each
    // match with them is cheap, and no other column of a match is read.
    push_text(
        query,
        ") and p.id <> all(array(
            select f.product_id from product_folded f join product q on q.id = f.product_id where ",
        "f.upper_text",
        phrase,
    );
    query.push(" and f.folded_text not like ");
    push_pattern(query, phrase);
    query.push(" and q.category_id <> ");
    push_categories(query, "all", phrase);
    query.push("))");
    if text.contains(SEPARATOR) {
        // The phrase could match across the end of a title and the start of its description.
        query.push(" and (search_fold(p.title) like ");
        push_pattern(query, phrase);
        query.push(" or search_fold(p.description) like ");
        push_pattern(query, phrase);
        query.push(" or p.category_id = ");
        push_categories(query, "any", phrase);
        query.push(")");
    }
}

/// Adds the condition that an upper-cased column contains the text, folded or upper-cased; once if both are the same.
fn push_text(query: &mut QueryBuilder<Postgres>, before: &str, column: &str, phrase: Phrase<'_>) {
    query.push(format!("{before}({column} like "));
    push_pattern(query, phrase);
    if !is_folded_by_upper_case(phrase.text) {
        query.push(format!(" or {column} like "));
        let pattern = format!("%{}%", escape_like(phrase.text));
        push_value(query, ("fold(", ")"), pattern, phrase);
    }
    query.push(")");
}

/// Adds the `like` pattern of a text. Most patterns are built here: a function call takes as long as planning half the statement.
fn push_pattern(query: &mut QueryBuilder<Postgres>, phrase: Phrase<'_>) {
    if is_folded_by_upper_case(phrase.text) {
        let pattern = format!("%{}%", escape_like(&phrase.text.to_uppercase()));
        push_value(query, ("", ""), pattern, phrase);
    } else {
        push_value(query, ("search_pattern(", ")"), phrase.text.to_owned(), phrase);
    }
}

/// Adds a value, or a subquery for it, of which PostgreSQL estimates nothing.
fn push_value(
    query: &mut QueryBuilder<Postgres>,
    (before, after): (&str, &str),
    value: String,
    phrase: Phrase<'_>,
) {
    query
        .push(if phrase.is_estimated { "" } else { "(select " })
        .push(before);
    query.push_bind(value).push(after);
    query.push(if phrase.is_estimated { "" } else { ")" });
}

/// Whether `search_fold` only upper-cases a text. False for cased letters beyond Cyrillic: PostgreSQL's Unicode version may
/// differ from Rust's.
pub(super) fn is_folded_by_upper_case(text: &str) -> bool {
    let upper = text.to_uppercase();
    let is_more = |c: char| matches!(c, 'ẞ' | '’' | 'ʼ' | '‘' | 'İ') || c.is_whitespace() && c != ' ';
    let may_differ = |c: char| c > '\u{52f}' && (c.is_lowercase() || c.is_uppercase());
    !text.contains(may_differ)
        && is_nfkc(text)
        && is_nfkc(&upper)
        && !upper.contains(is_more)
        && !upper.contains("  ")
}

/// Adds the condition that title, description or category name of the product `p` contains each word of a text, or that the
/// word is its id or one of its codes.
pub fn push_words(query: &mut QueryBuilder<Postgres>, text: &str) {
    for (place, word) in words(text).enumerate() {
        query.push(if place == 0 { "((" } else { ") and (" });
        if let Ok(id) = word.parse::<i64>() {
            query.push("p.id = ").push_bind(id).push(" or ");
        }
        query.push("p.id = (select product_id from product_code where code = ");
        query.push_bind(word.to_owned()).push(") or ");
        push_phrase(query, word, true);
    }
    query.push("))");
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text.trim();
    (1..=MAX_WORDS).map_while(move |place| {
        let end = rest
            .find(char::is_whitespace)
            .filter(|_| place < MAX_WORDS)
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after.trim_start();
        Some(word).filter(|word| !word.is_empty())
    })
}

/// Adds the categories whose name contains the text, for a comparison with `any` or `all`.
fn push_categories(query: &mut QueryBuilder<Postgres>, which: &str, phrase: Phrase<'_>) {
    query.push(format!(
        "{which}(array(select id from category where search_fold(name) like "
    ));
    push_pattern(query, phrase);
    query.push("))");
}

/// Whether the trigram indexes serve any word of a text. Otherwise the search reads all products.
pub fn has_indexed_word(text: &str) -> bool {
    words(text).any(is_indexed)
}

/// Whether a phrase contains a trigram: three letters or digits in a row, or fewer at the start or end of a word, where `pg_trgm`
/// adds two blanks before and one after.
pub(super) fn is_indexed(phrase: &str) -> bool {
    let (mut letters, mut begins) = (0, false);
    let mut found = false;
    for c in phrase.chars() {
        if c.is_alphanumeric() {
            letters += 1;
            found |= letters + 2 * usize::from(begins) >= 3;
        } else {
            found |= letters == 2;
            (letters, begins) = (0, true);
        }
    }
    found
}

/// Escapes a text for `like`.
fn escape_like(text: &str) -> String {
    text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_with_three_characters_or_a_word_edge_is_indexed() {
        for indexed in ["abc", "äöü", "a b", "ab-", "-a", "ab cd", "50%", "日本語"] {
            assert!(is_indexed(indexed), "{indexed}");
        }
        for scanned in ["", "a", "zq", "--", "---", "a-", "%_%", "é"] {
            assert!(!is_indexed(scanned), "{scanned}");
        }
    }

    #[test]
    fn texts_that_upper_case_does_not_fold_are_detected() {
        for plain in ["lamp", "weiß", "Äpfel 7%", "ΣΊΣΥΦΟΣ", "한글"] {
            assert!(is_folded_by_upper_case(plain), "{plain}");
        }
        for other in [
            "cafe\u{301}",
            "WEIẞ",
            "chef’s",
            "a  b",
            "a\tb",
            "a\u{a0}b",
            "İst",
            "i\u{307}",
            "ﬁn",
            "ｆ",
            "kΩ\u{2126}",
            "ꭰ",
        ] {
            assert!(!is_folded_by_upper_case(other), "{other}");
        }
    }

    #[test]
    fn words_beyond_the_limit_form_one_phrase() {
        let found = |text| words(text).collect::<Vec<_>>();
        assert_eq!(found("  blue\u{3000}lamp\t7 "), ["blue", "lamp", "7"]);
        assert_eq!(found(" "), [""; 0]);
        assert_eq!(
            found("1 2 3 4 5 6 7 8 9  10"),
            ["1", "2", "3", "4", "5", "6", "7", "8 9  10"]
        );
    }
}
