//! Autocomplete: the first products whose titles begin with a text, in any case.
//!
//! Titles are listed byte by byte, so "Smart", "SMART" and "smart" stand far apart, and a common prefix has many matches
//! between them. Reading all matches would cost more the more products there are. Instead the spellings that titles really
//! have are followed through the index of the list, letter by letter; there are few, and each has its first titles at hand.

use std::{collections::HashMap, sync::LazyLock};

use axum::{Json, extract::State};
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use crate::{
    rate_limit::Exceeded,
    web::{InvalidPrefix, Params, Problem},
};

/// A product whose title begins as asked.
#[derive(Debug, Serialize, ToSchema)]
pub struct Suggestion {
    id: i64,
    title: String,
    /// A number, where the rest of the API has a text: clients rely on it.
    price: f64,
}

/// The first ten active products whose title begins with `q`, by title. Limited to 20 requests a minute and client.
#[utoipa::path(get, path = "/api/products/autocomplete/", tag = "Products",
    params(("q" = String, Query, description = "At least three characters, in any case")),
    responses((status = 200, body = Vec<Suggestion>,
            headers(
                ("X-RateLimit-Limit" = u32, description = "Requests a client may make in any minute"),
                ("X-RateLimit-Remaining" = u32, description = "How many of them are left"),
                ("X-RateLimit-Reset" = u64, description = "Seconds until the oldest of them counts no more"))),
        (status = 400, response = InvalidPrefix),
        (status = 429, description = "The limit is used up.", body = Exceeded,
            headers(("Retry-After" = u64, description = "Seconds until a request may pass")))))]
pub async fn autocomplete(
    State(db): State<PgPool>,
    mut params: Params,
) -> Result<Json<Vec<Suggestion>>, Problem> {
    let text = params.text("q");
    let prefix = params.finish(text)?.filter(|prefix| prefix.chars().count() >= 3);
    let Some(prefix) = prefix else {
        return Err(Problem::Titled {
            error: "Query must be at least 3 characters",
            detail: None,
        });
    };
    Ok(Json(suggestions(&db, &prefix).await?))
}

async fn suggestions(db: &PgPool, prefix: &str) -> sqlx::Result<Vec<Suggestion>> {
    let Some(letters) = Letters::of(prefix) else {
        return Ok(Vec::new());
    };
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
           ), first as (
               select id, title, price
               from spelled cross join lateral (
                   select id, title, price from product
                   where is_active and title >= prefix and title < prefix || chr(1114111)
                   order by title, id limit 10
               ) begins
               where place = $4
           )
           select id as "id!", title as "title!", price::float8 as "price!"
           from first order by title, id limit 10"#,
        &letters.at,
        &letters.letter as &[String],
        &letters.next,
        letters.end
    )
    .fetch_all(db)
    .await
}

/// What a text may be spelled with: at each place of its folded form, the letters that fold to what follows there, and
/// the place after them. Most are one place long; "ß" folds to "SS", and may reach beyond the end.
#[derive(Debug, Default)]
struct Letters {
    at: Vec<i32>,
    letter: Vec<String>,
    next: Vec<i32>,
    end: i32,
}

/// A title has up to 200 characters, each of which folds to three at most. Nothing begins with more.
const LONGEST_FOLDED: usize = 600;

impl Letters {
    fn of(text: &str) -> Option<Self> {
        let folded: Vec<char> = text.chars().flat_map(char::to_uppercase).collect();
        if folded.len() > LONGEST_FOLDED {
            return None;
        }
        let mut letters = Self {
            end: i32::try_from(folded.len()).ok()?,
            ..Self::default()
        };
        for (at, first) in (0..).zip(&folded) {
            let rest = &folded[usize::try_from(at).ok()?..];
            let others = FOLDED_TO.get(first).map(Vec::as_slice).unwrap_or_default();
            for letter in std::iter::once(first).chain(others) {
                let fits = letter
                    .to_uppercase()
                    .zip(rest)
                    .all(|(ours, theirs)| ours == *theirs);
                if fits {
                    let length = i32::try_from(letter.to_uppercase().len()).ok()?;
                    letters.at.push(at);
                    letters.letter.push(letter.to_string());
                    letters.next.push((at + length).min(letters.end));
                }
            }
        }
        Some(letters)
    }
}

/// All letters that folding changes, by the first letter of what they become.
static FOLDED_TO: LazyLock<HashMap<char, Vec<char>>> = LazyLock::new(|| {
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
        let letters = Letters::of(text).unwrap();
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
    fn each_letter_is_spelled_in_every_case() {
        assert_eq!(
            spellings("kö%"),
            expected(&[(0, "K", 1), (0, "k", 1), (1, "Ö", 2), (1, "ö", 2), (2, "%", 3)])
        );
    }

    #[test]
    fn a_letter_may_stand_for_two_and_reach_beyond_the_end() {
        assert_eq!(
            spellings("ss"),
            expected(&[
                (0, "S", 1),
                (0, "s", 1),
                (0, "ß", 2),
                (0, "ſ", 1),
                (1, "S", 2),
                (1, "s", 2),
                (1, "ß", 2),
                (1, "ſ", 2),
                // "ST", in one letter.
                (1, "ﬅ", 2),
                (1, "ﬆ", 2),
            ])
        );
        assert_eq!(Letters::of("ß").unwrap().end, 2);
    }

    #[test]
    fn nothing_begins_with_more_than_a_title_holds() {
        assert!(Letters::of(&"a".repeat(600)).is_some());
        assert!(Letters::of(&"a".repeat(601)).is_none());
    }
}
