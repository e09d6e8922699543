//! Examples of requests and responses, for the OpenAPI document. A test sends them in their sequence to a server with demo data
//! and compares the responses; it can also write them anew.

use serde_json::Value;
use utoipa::openapi::{
    Components, Content, OpenApi, RefOr,
    example::ExampleBuilder,
    path::{Operation, PathItem},
    response::Response,
};

/// The examples.
const EXAMPLES: &str = include_str!("examples.http");

/// An exchange of a request and a response.
#[derive(Debug, PartialEq, Eq)]
pub struct Example<'a> {
    /// A title; blank without one.
    pub title: &'a str,
    /// The method of the request.
    pub method: &'a str,
    /// Its path, with the query string.
    pub path: &'a str,
    /// Its headers.
    pub headers: Vec<(&'a str, &'a str)>,
    /// Its JSON body, if it has one.
    pub body: Option<Value>,
    /// The status of the response.
    pub status: &'a str,
    /// The text of its body.
    pub answer: &'a str,
}

/// The examples of the OpenAPI document.
pub fn examples() -> Vec<Example<'static>> {
    let parts = EXAMPLES.split("### ").skip(1);
    parts
        .filter_map(|part| {
            let (title, exchange) = part.split_once('\n')?;
            Some(Example {
                title,
                ..Example::parse(exchange)?
            })
        })
        .collect()
}

impl<'a> Example<'a> {
    /// Reads an exchange: the line of the request, headers and a body, the line of the status, headers, and a body on one line.
    pub fn parse(text: &'a str) -> Option<Self> {
        let lines: Vec<&str> = text.trim_end().lines().collect();
        let end = lines.iter().position(|line| is_status(line))?;
        let (method, rest) = lines.first()?.split_once(' ')?;
        let (path, first) = rest.split_once("  ").unwrap_or((rest, ""));
        let headers: Vec<_> = lines[1..end].iter().map_while(|line| header(line)).collect();
        let body = [&[first], &lines[1 + headers.len()..end]].concat().join("\n");
        let answer = lines[end + 1..].iter().find(|line| header(line).is_none());
        Some(Self {
            title: "",
            method,
            path,
            headers,
            body: serde_json::from_str(&body).ok(),
            status: lines[end].split(' ').next()?,
            answer: answer.copied().unwrap_or_default(),
        })
    }
}

fn is_status(line: &str) -> bool {
    let status = line.split(' ').next().unwrap_or_default();
    status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit())
}

fn header(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(": ")?;
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
    is_name.then_some((name, value))
}

/// Adds the examples to the operations of a document.
pub(super) fn add(document: &mut OpenApi) {
    let components = document.components.clone().unwrap_or_default();
    for example in examples() {
        let path = example.path.split('?').next().unwrap_or_default();
        let found = document
            .paths
            .paths
            .iter_mut()
            .filter(|(template, _)| matches(template, path));
        // Without a parameter in its place, a segment takes precedence.
        let item = found.min_by_key(|(template, _)| template.matches('{').count());
        if let Some(operation) = item.and_then(|(_, item)| operation(item, example.method)) {
            example.add_to(operation, &components);
        }
    }
}

fn matches(template: &str, path: &str) -> bool {
    let (templates, parts) = (template.split('/'), path.split('/'));
    templates.clone().count() == parts.clone().count()
        && templates
            .zip(parts)
            .all(|(template, part)| template == part || template.starts_with('{'))
}

fn operation<'a>(item: &'a mut PathItem, method: &str) -> Option<&'a mut Operation> {
    match method {
        "GET" => item.get.as_mut(),
        "POST" => item.post.as_mut(),
        "PUT" => item.put.as_mut(),
        "PATCH" => item.patch.as_mut(),
        "DELETE" => item.delete.as_mut(),
        _ => None,
    }
}

impl Example<'_> {
    fn add_to(&self, operation: &mut Operation, components: &Components) {
        if let (Some(body), Some(RefOr::T(request))) = (&self.body, &mut operation.request_body) {
            self.add_value(request.content.values_mut(), body.clone());
        }
        let Some(response) = operation.responses.responses.get_mut(self.status) else {
            return;
        };
        if let RefOr::Ref(reference) = response {
            // The examples differ from those of other operations with the same response.
            let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
            if let Some(RefOr::T(shared)) = components.responses.get(name) {
                *response = RefOr::T(Response::clone(shared));
            }
        }
        if let (RefOr::T(response), Ok(answer)) = (response, serde_json::from_str(self.answer)) {
            self.add_value(response.content.values_mut(), answer);
        }
    }

    fn add_value<'c>(&self, contents: impl Iterator<Item = &'c mut RefOr<Content>>, value: Value) {
        let example = ExampleBuilder::new().value(Some(value)).build();
        for content in contents {
            if let RefOr::T(content) = content {
                let example = RefOr::T(example.clone());
                content.examples.insert(self.title.to_owned(), example);
            }
        }
    }
}
