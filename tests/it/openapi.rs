//! `/api/openapi.json` and `/api/docs/` describe the API correctly.

mod answers;
mod requests;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::app::TestApp;

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

fn document() -> Value {
    serde_json::to_value(afforo::server::document()).unwrap()
}

/// Every operation of the document, as `(path, method, operation)`.
fn operations(document: &Value) -> impl Iterator<Item = (&String, &String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (path, method, operation))
    })
}

/// Every value within a value.
fn within(value: &Value) -> Vec<&Value> {
    let inner: Vec<&Value> = match value {
        Value::Object(members) => members.values().collect(),
        Value::Array(elements) => elements.iter().collect(),
        _ => Vec::new(),
    };
    std::iter::once(value)
        .chain(inner.into_iter().flat_map(within))
        .collect()
}

#[tokio::test]
async fn served_document_equals_the_printed_one() {
    let app = TestApp::start().await;
    let served = app.get("/api/openapi.json").await;
    assert_eq!(served.header("content-type"), "application/json");
    served.is(200, document());
}

#[test]
fn document_is_valid_openapi() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let schema: Value = serde_json::from_str(include_str!("openapi/openapi-3.1.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors = validator.iter_errors(&document);
    let errors: Vec<String> = errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(jsonschema::meta::is_valid(schema), "{name}");
    }
}

#[test]
fn references_resolve_and_responses_are_used() {
    let document = document();
    let values = within(&document);
    let references: BTreeSet<&str> = values.iter().filter_map(|value| value["$ref"].as_str()).collect();
    for reference in &references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for name in document["components"]["responses"].as_object().unwrap().keys() {
        let reference = format!("#/components/responses/{name}");
        assert!(references.contains(reference.as_str()), "{reference}");
    }
}

#[test]
fn operations_have_unique_ids_and_summaries() {
    let document = document();
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        assert!(names.insert(operation["operationId"].as_str()), "{method} {path}");
        for text in ["summary", "operationId"] {
            assert_ne!(
                operation[text].as_str().unwrap_or_default(),
                "",
                "{method} {path}"
            );
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            let described = response["$ref"].is_string() || response["description"] != "";
            assert!(described, "{method} {path} {status}");
        }
    }
}

#[tokio::test]
async fn every_route_is_documented_with_every_method() {
    let app = TestApp::start().await;
    let document = document();
    let described: BTreeSet<(&str, Vec<&str>)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| {
            let methods = METHODS.into_iter().filter(|method| item[*method].is_object());
            (path.as_str(), methods.collect())
        })
        .collect();
    let (list, detail) = (vec!["get", "post"], vec!["get", "put", "patch", "delete"]);
    let known = BTreeSet::from([
        ("/api/categories/", list.clone()),
        ("/api/categories/{id}/", detail.clone()),
        ("/api/products/", list.clone()),
        ("/api/products/{id}/", detail.clone()),
        ("/api/products/search/", vec!["get"]),
        ("/api/products/autocomplete/", vec!["get"]),
        ("/api/products/lookup/", vec!["get"]),
        ("/api/products/bulk/", vec!["post"]),
        ("/api/products/by-sku/{sku}/", vec!["put"]),
        ("/api/stores/", list.clone()),
        ("/api/stores/{id}/", detail.clone()),
        ("/api/inventory/", list.clone()),
        ("/api/inventory/{id}/", detail),
        ("/api/inventory/{id}/movements/", list.clone()),
        ("/api/inventory/adjustments/", vec!["post"]),
        ("/api/inventory/as-of/", vec!["get"]),
        ("/api/inventory/movements/", vec!["get"]),
        ("/api/inventory/{id}/explain/", vec!["get"]),
        ("/api/inventory/reversals/", vec!["post"]),
        ("/api/orders/", list),
        ("/api/orders/{id}/", vec!["get", "patch"]),
        ("/api/orders/{id}/redact/", vec!["post"]),
        ("/api/orders/{id}/cancellations/", vec!["post"]),
        ("/api/orders/{id}/fulfillments/", vec!["post"]),
        ("/api/orders/{id}/returns/", vec!["post"]),
        ("/api/reservations/", vec!["get", "post"]),
        ("/api/reservations/{id}/", vec!["get"]),
        ("/api/reservations/{id}/extend/", vec!["post"]),
        ("/api/reservations/{id}/release/", vec!["post"]),
        ("/api/orders/{id}/timeline/", vec!["get"]),
        ("/api/orders/stats/", vec!["get"]),
        ("/api/transfers/", vec!["get", "post"]),
        ("/api/transfers/{id}/", vec!["get", "patch"]),
        ("/api/transfers/{id}/ship/", vec!["post"]),
        ("/api/transfers/{id}/receive/", vec!["post"]),
        ("/api/transfers/{id}/cancel/", vec!["post"]),
        ("/api/stock-counts/", vec!["get", "post"]),
        ("/api/stock-counts/{id}/", vec!["get"]),
        ("/api/stock-counts/{id}/lines/", vec!["get", "post"]),
        ("/api/stock-counts/{id}/entries/", vec!["get"]),
        ("/api/stock-counts/{id}/apply/", vec!["post"]),
        ("/api/stock-counts/{id}/cancel/", vec!["post"]),
        ("/health/", vec!["get"]),
        ("/health/ready/", vec!["get"]),
    ]);
    assert_eq!(described, known);
    for (path, methods) in described.iter().filter(|(path, _)| path.starts_with("/api/")) {
        let path = path.replace("{id}", "1").replace("{sku}", "LAMP");
        let answer = crate::support::app::send(app.request(reqwest::Method::OPTIONS, &path)).await;
        let allowed = answer.header("allow").to_ascii_lowercase();
        let allowed = allowed
            .split(", ")
            .filter(|method| !["head", "options"].contains(method));
        assert_eq!(&allowed.collect::<Vec<_>>(), methods, "{path}");
    }
}

#[tokio::test]
async fn api_docs_page_needs_no_other_server() {
    let app = TestApp::start().await;
    for path in ["/api/docs/", "/api/docs"] {
        let page = app.get(path).await;
        assert_eq!(page.status, 200);
        assert_eq!(page.header("content-type"), "text/html");
        for source in ["src=\"", "href=\""]
            .iter()
            .flat_map(|name| page.text.split(name).skip(1))
        {
            let source = source.split('"').next().unwrap();
            assert!(!source.contains("//"), "{source}");
            let file = source.trim_start_matches("./");
            assert_eq!(
                app.get(&format!("/api/docs/{file}")).await.status,
                200,
                "{source}"
            );
        }
    }
    let start = app.get("/api/docs/swagger-initializer.js").await;
    assert!(start.text.contains(r#""/api/openapi.json""#), "{}", start.text);
    assert!(!start.text.contains("://"), "{}", start.text);
    let missing = app.get("/api/docs/nothing.js").await;
    assert_eq!(missing.status, 404);
    for path in ["/api/openapi.json", "/api/docs/"] {
        let posted = app.post(path, &json!({})).await;
        posted.is_text(405, r#"{"detail":"Method \"POST\" not allowed."}"#);
        assert_eq!(posted.header("allow"), "GET,HEAD");
    }
}
