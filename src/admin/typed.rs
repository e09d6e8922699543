//! What is typed into a form that has secrets in it, or is not the API's business.

use axum::extract::{FromRequest, Request};

use super::page::Refusal;
use crate::web::Body;

/// The fields of a form, in the order in which they came.
pub struct Typed(Vec<(String, String)>);

impl Typed {
    /// A field as it was typed; blank where it is absent.
    pub fn exact(&self, name: &str) -> &str {
        let value = self.0.iter().rev().find(|(known, _)| known == name);
        value.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// The same, without the spaces around it.
    pub fn text(&self, name: &str) -> &str {
        self.exact(name).trim()
    }

    /// All values of a field that may stand more than once.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let values = self.0.iter().filter(move |(known, _)| known == name);
        values.map(|(_, value)| value.as_str())
    }
}

impl<S: Send + Sync> FromRequest<S> for Typed {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let Ok(body) = Body::from_request(request, state).await;
        let bytes = body.received().ok_or(Refusal::Unreadable)?;
        Ok(Self(form_urlencoded::parse(bytes).into_owned().collect()))
    }
}
