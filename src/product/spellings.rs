//! The query of autocomplete: the first products whose folded titles begin with a prefix.
//!
//! Titles are sorted by bytes, so "Smart", "SMART" and "smart" are far apart, and reading all matches of a common prefix would
//! take longer with every product. Instead the query follows, letter by letter, the spellings that occur in the index of the
//! list. There are few, and each yields its first titles from the index. Titles that folding changes beyond upper case have an
//! index of their folded form.

use std::{collections::HashMap, sync::LazyLock};

use serde::Serialize;
use utoipa::ToSchema;

use super::text::is_folded_by_upper_case;
use crate::db::ReadPool;

/// A product whose title begins with the prefix.
#[derive(Debug, Serialize, ToSchema)]
pub struct Suggestion {
    id: i64,
    title: String,
    /// A JSON number, unlike elsewhere in the API: clients rely on it.
    price: f64,
}

/// The first ten suggestions for a prefix.
pub(super) async fn suggestions(db: &ReadPool, prefix: &str) -> sqlx::Result<Vec<Suggestion>> {
    let upper = prefix.to_uppercase();
    let folded = if is_folded_by_upper_case(prefix) {
        upper.clone()
    } else {
        sqlx::query_scalar!(r#"select search_fold($1) as "folded!""#, prefix)
            .fetch_one(db)
            .await?
    };
    let mut letters = Letters::default();
    letters.spell(&folded);
    if upper != folded {
        // Matches products that the worker has not added to `product_folded` yet.
        letters.spell(&upper);
    }
    // Written so that a generic plan has the same estimates as a custom one: PostgreSQL then keeps it, and planning takes longer
    // than the query.
    sqlx::query_as!(
        Suggestion,
        r#"with recursive spelled (prefix, place) as (
               select ''::text collate "C", 0
               union all
               select prefix || letter, next
               from spelled join unnest($1::integer[], $2::text[], $3::integer[]) as letters (at, letter, next)
                   on at = place
               where exists (
                   select from product
                   where is_active and title >= prefix || letter and title < prefix || letter || chr(1114111)
               )
           ), upper as (
               select id, title, price
               from spelled cross join lateral (
                   select id, title, price from product p
                   where is_active and title >= prefix and title < prefix || chr(1114111)
                       and not exists (
                           select from product_folded f where f.product_id = p.id and f.folded_title is not null
                       )
                   order by title, id limit 10
               ) begins
               where place = $4
           ), named as materialized (
               select product_id from product_folded
               where folded_title >= (select $5) and folded_title < (select $5 || chr(1114111))
           ), folded as (
               select p.id, p.title, p.price from named join product p on p.id = named.product_id
               where p.is_active order by p.title, p.id limit 10
           )
           select id as "id!", title as "title!", price::float8 as "price!"
           from (select * from upper union select * from folded) found order by title, id limit 10"#,
        &letters.at,
        &letters.letter as &[String],
        &letters.next,
        END,
        folded
    )
    .fetch_all(db)
    .await
}

/// The spellings of texts as a graph: at each place of the folded form, the letters that upper-case to what follows, and the
/// next place. Most letters span one place; "ß" becomes "SS" and may reach beyond the end.
#[derive(Debug, Default)]
struct Letters {
    at: Vec<i32>,
    letter: Vec<String>,
    next: Vec<i32>,
    /// Number of places of all added texts.
    places: i32,
}

/// A title has up to 200 characters, each of which folds to at most three.
const LONGEST_FOLDED: usize = 600;
/// The common first and last places of all texts. The places between belong to one text each.
const START: i32 = 0;
const END: i32 = -1;

impl Letters {
    /// Adds a text. A text longer than any title has no spelling.
    fn spell(&mut self, folded: &str) {
        let folded: Vec<char> = folded.chars().collect();
        if folded.len() > LONGEST_FOLDED {
            return;
        }
        let before = self.places;
        let place = |index: usize| match i32::try_from(index) {
            Ok(0) => START,
            Ok(index_of_text) if index < folded.len() => before + index_of_text,
            _ => END,
        };
        for (index, first) in folded.iter().enumerate() {
            let others = UPPER_CASED_TO.get(first).map(Vec::as_slice).unwrap_or_default();
            for letter in std::iter::once(first).chain(others) {
                let fits = letter
                    .to_uppercase()
                    .zip(&folded[index..])
                    .all(|(ours, theirs)| ours == *theirs);
                if fits {
                    self.at.push(place(index));
                    self.letter.push(letter.to_string());
                    self.next.push(place(index + letter.to_uppercase().len()));
                }
            }
        }
        self.places += i32::try_from(folded.len()).unwrap_or_default();
    }
}

/// All letters that upper-casing changes, by the first letter of the result.
static UPPER_CASED_TO: LazyLock<HashMap<char, Vec<char>>> = LazyLock::new(|| {
    let mut letters = HashMap::<char, Vec<char>>::new();
    for letter in '\0'..=char::MAX {
        match letter.to_uppercase().next() {
            Some(first) if first != letter => letters.entry(first).or_default().push(letter),
            _ => {}
        }
    }
    letters
});

#[cfg(test)]
mod tests {
    use super::*;

    fn spellings(text: &str) -> Vec<(i32, String, i32)> {
        let mut letters = Letters::default();
        letters.spell(&text.to_uppercase());
        let mut spellings: Vec<_> = letters
            .at
            .into_iter()
            .zip(letters.letter)
            .zip(letters.next)
            .collect();
        spellings.sort();
        spellings
            .into_iter()
            .map(|((at, letter), next)| (at, letter, next))
            .collect()
    }

    fn expected(spellings: &[(i32, &str, i32)]) -> Vec<(i32, String, i32)> {
        spellings
            .iter()
            .map(|(at, letter, next)| (*at, (*letter).to_owned(), *next))
            .collect()
    }

    #[test]
    fn each_character_is_spelled_in_every_case() {
        assert_eq!(
            spellings("kö%"),
            expected(&[(0, "K", 1), (0, "k", 1), (1, "Ö", 2), (1, "ö", 2), (2, "%", END)])
        );
    }

    #[test]
    fn one_character_may_stand_for_two_and_pass_the_end() {
        assert_eq!(
            spellings("ss"),
            expected(&[
                (0, "S", 1),
                (0, "s", 1),
                (0, "ß", END),
                (0, "ſ", 1),
                (1, "S", END),
                (1, "s", END),
                (1, "ß", END),
                (1, "ſ", END),
                // "ST", in one letter.
                (1, "ﬅ", END),
                (1, "ﬆ", END),
            ])
        );
    }

    #[test]
    fn texts_share_start_and_end_but_no_position_between() {
        let mut letters = Letters::default();
        letters.spell("12");
        letters.spell("345");
        assert_eq!(letters.letter, ["1", "2", "3", "4", "5"]);
        assert_eq!(letters.at, [START, 1, START, 3, 4]);
        assert_eq!(letters.next, [1, END, 3, 4, END]);
    }

    #[test]
    fn text_longer_than_a_title_has_no_spellings() {
        let mut letters = Letters::default();
        letters.spell(&"A".repeat(601));
        assert!(letters.letter.is_empty());
        letters.spell(&"A".repeat(600));
        assert_eq!(letters.places, 600);
    }
}
