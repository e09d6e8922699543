//! Records that the console looks after, each by its own pages, and that the API writes, all alike.

use axum::{http::Method, response::Response};
use serde_json::json;

use super::{
    api::Answer,
    form::{self, Form, Sent},
    operator::Operator,
    page::Refusal,
    query::Query,
    state::Console,
};

/// A kind of record.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Where its pages are.
    pub section: &'static str,
    /// Where the API has it.
    pub resource: &'static str,
    /// What its form says to the API.
    pub fields: &'static [Sent],
}

impl Kind {
    /// The page of a record.
    #[must_use]
    pub fn page_of(&self, id: i64) -> String {
        format!("{}{id}/", self.section)
    }

    /// Makes a record of what was typed.
    pub async fn create(&self, console: &Console, operator: &Operator, form: &Form) -> Answer {
        let (body, key) = (form.json(self.fields), Some(form.key()));
        let api = &console.api;
        api.send(operator, Method::POST, self.resource, key, Some(&body))
            .await
    }

    /// Writes what was typed.
    pub async fn save(&self, console: &Console, operator: &Operator, id: i64, form: &Form) -> Answer {
        let (path, body) = (self.path_of(id), form.json(self.fields));
        let api = &console.api;
        api.send(operator, Method::PATCH, &path, None, Some(&body)).await
    }

    /// Deletes a record.
    pub async fn delete(&self, console: &Console, operator: &Operator, id: i64) -> Answer {
        let (path, api) = (self.path_of(id), &console.api);
        api.send(operator, Method::DELETE, &path, None, None).await
    }

    /// Writes whether a record is active, and leads back to where that was asked for.
    pub async fn set_active(
        &self,
        console: &Console,
        operator: &Operator,
        query: &Query,
        id: i64,
        is_active: bool,
    ) -> Result<Response, Refusal> {
        let (path, body) = (self.path_of(id), json!({ "is_active": is_active }));
        let api = &console.api;
        let answer = api.send(operator, Method::PATCH, &path, None, Some(&body)).await;
        if !answer.status.is_success() {
            return Err(Refusal::of(&answer));
        }
        Ok(form::toggled(query, self.section, &self.page_of(id), is_active))
    }

    fn path_of(&self, id: i64) -> String {
        format!("{}{id}/", self.resource)
    }
}
