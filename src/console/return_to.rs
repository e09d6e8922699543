//! Where an operator returns to from a record: to the list that it was opened from, or to the page of the record.

use std::{convert::Infallible, fmt};

use axum::{extract::FromRequestParts, http::request::Parts};

use super::query::Query;

/// The list that a record was opened from. Each link carries it, so that the operator finds the list as they left it.
#[derive(Clone, Debug, Default)]
pub struct ReturnTo {
    /// The query of the list, `?` if it has none; blank if the record was not opened from a list.
    list: String,
    /// Whether the operator is on the page of the record: a change then returns there.
    via_page: bool,
}

impl ReturnTo {
    /// For links on the page of the record.
    pub fn via_page(&self) -> Self {
        Self {
            list: self.list.clone(),
            via_page: true,
        }
    }

    /// The list.
    pub fn list(&self, section: &str) -> String {
        format!("{section}{}", self.list).trim_end_matches('?').to_owned()
    }

    /// The page of a record.
    pub fn page(&self, section: &str, id: i64) -> String {
        let list = self.list.clone();
        format!(
            "{section}{id}/{}",
            Self {
                list,
                via_page: false
            }
        )
    }

    /// Where a change of a record returns to.
    pub fn after_change(&self, section: &str, id: i64) -> String {
        if self.list.is_empty() || self.via_page {
            self.page(section, id)
        } else {
            self.list(section)
        }
    }
}

/// As the query of a link.
impl fmt::Display for ReturnTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.list.is_empty() {
            return Ok(());
        }
        let stay = if self.via_page { "&stay=on" } else { "" };
        write!(f, "{}{stay}", Query::default().with("list", &self.list))
    }
}

impl From<&Query> for ReturnTo {
    fn from(query: &Query) -> Self {
        let list = query.get("list");
        let list = list.map(|list| Query::from(list.trim_start_matches('?')).here());
        Self {
            list: list.unwrap_or_default(),
            via_page: query.get("stay").is_some(),
        }
    }
}

impl Query {
    /// For links from this list to its records.
    pub fn return_here(&self) -> ReturnTo {
        ReturnTo {
            list: self.here(),
            via_page: false,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for ReturnTo {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::from(&Query::from(parts.uri.query().unwrap_or_default())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_returns_to_the_list_or_the_page_it_was_made_on() {
        let parse = |link: String| ReturnTo::from(&Query::from(link.trim_start_matches('?')));
        let of_list = |query: &str| parse(Query::from(query).return_here().to_string());
        let section = "/admin/stock/";
        let edit = of_list("q=a%26b&page=2");
        assert_eq!(edit.after_change(section, 7), "/admin/stock/?q=a%26b&page=2");
        assert_eq!(of_list("").after_change(section, 7), section);
        let on_page = parse(edit.via_page().to_string());
        let page = "/admin/stock/7/?list=%3Fq%3Da%2526b%26page%3D2";
        assert_eq!(on_page.after_change(section, 7), page);
        assert_eq!(on_page.list(section), "/admin/stock/?q=a%26b&page=2");
        let direct = parse("?page=3".to_owned());
        assert_eq!(
            (
                direct.via_page().to_string().as_str(),
                direct.list(section).as_str()
            ),
            ("", section)
        );
        assert_eq!(direct.after_change(section, 7), "/admin/stock/7/");
    }
}
