//! The parts of the OpenAPI document that all endpoints share: error responses, security, conditional requests, idempotency
//! keys, and the schemas of PATCH.

use std::collections::BTreeMap;

use axum::http::Method;
use utoipa::{
    PartialSchema, ToResponse, ToSchema,
    openapi::{
        Components, ComponentsBuilder, Content, HeaderBuilder, Ref, RefOr, Required, Response,
        ResponseBuilder,
        path::{Operation, ParameterBuilder, ParameterIn, Paths},
        schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, Schema, Type},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    FieldErrors,
    error::{Detail, ErrorDetail},
    middleware::auth,
    state_conflict::StateConflict,
};
use crate::auth::{Area, Scope};

/// Defines a named response for each error, whose body is one of some schemas.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $($body:ident)|+ = $description:literal;)*) => {
        $($(#[$doc])* #[derive(Debug)] pub struct $name;

        impl<'r> ToResponse<'r> for $name {
            fn response() -> (&'r str, RefOr<Response>) {
                let bodies = vec![$(schema_ref::<$body>()),+];
                (stringify!($name), response($description, bodies).into())
            }
        })*

        fn refusals() -> ComponentsBuilder {
            ComponentsBuilder::new()
                .schema_from::<Detail>()
                .schema_from::<FieldErrors>()
                .schema_from::<ErrorDetail>()
                .schema_from::<StateConflict>()
                $(.response_from::<$name>())*
        }
    };
}

refusals! {
    /// 400 for a body.
    Invalid: FieldErrors | Detail = "Errors by field, or a sentence if the body is not JSON.";
    /// 400 for a query string.
    InvalidParameter: FieldErrors = "Errors by parameter.";
    /// 400 for an order.
    InvalidOrder: FieldErrors | ErrorDetail | Detail = "Errors by field, an inactive or unknown store, or a sentence if the body is not JSON.";
    /// 400 for a text that is too short to be searched for.
    InvalidPrefix: ErrorDetail | FieldErrors = "Fewer than three characters, or a NUL character.";
    /// 401
    Unauthorized: Detail = "The API key is missing, unknown, expired or revoked. `WWW-Authenticate` has the reason.";
    /// 403
    Forbidden: Detail | StateConflict = "The API key lacks the named scope, or is restricted to some stores and the operation concerns all, or another one.";
    /// 404
    NotFound: Detail = "The record or page does not exist.";
    /// 406
    NotAcceptable: Detail = "`Accept` excludes JSON.";
    /// 409
    Conflict: Detail = "Orders refer to the record. Nothing was changed.";
    /// 409
    KeyInUse: Detail = "Another request with this `Idempotency-Key` is in progress. Retry after a second.";
    /// 412
    PreconditionFailed: Detail = "The record does not match `If-Match`. Nothing was changed, and the body was not validated.";
    /// 413
    TooLarge: Detail = "The body exceeds 1 MiB.";
    /// 415
    UnsupportedMediaType: Detail = "The body is not `application/json`.";
    /// 429
    TooManyFailures: Detail = "Too many rejected API keys from this address, or too many writes if writes are limited. `Retry-After` has the seconds to wait.";
    /// 422
    KeyMismatch: Detail = "This `Idempotency-Key` was used for a different request.";
}

/// The components that operations refer to by name.
pub fn components() -> Components {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let etag = HeaderBuilder::new().schema(Some(text())).description(Some(
        "Identifies this version of the response, for `If-None-Match` and `If-Match`.",
    ));
    let parameter = |name, schema: ObjectBuilder, description| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .schema(Some(schema))
            .description(Some(description))
            .build()
    };
    let if_none_match = parameter(
        "If-None-Match",
        text(),
        "`ETag` of the response that the client has, or a list. If one matches, the response is 304 without a body.",
    );
    let if_match = parameter(
        "If-Match",
        text(),
        "`ETag` of the record that the client has read, or a list. The write applies only if one matches. `*` matches any.",
    );
    let key = parameter(
        "Idempotency-Key",
        text()
            .min_length(Some(1))
            .max_length(Some(255))
            .pattern(Some("^[!-~]+$")),
        "Makes it safe to repeat the request: it takes effect once, and gets the same response for a day. 1 to 255 visible ASCII characters, for example a UUID.",
    );
    let replayed = HeaderBuilder::new().schema(Some(text())).description(Some(
        "`true` if this is the stored response of an earlier request.",
    ));
    let not_modified = ResponseBuilder::new()
        .description("The client has the current version.")
        .header_ref("ETag", Ref::new(ETAG));
    security_schemes(refusals())
        .header("ETag", etag.build())
        .header("IdempotentReplayed", replayed.build())
        .parameter("IdempotencyKey", key)
        .parameter("IfMatch", if_match)
        .parameter("IfNoneMatch", if_none_match)
        .response("NotModified", not_modified.build())
        .build()
}

const ETAG: &str = "#/components/headers/ETag";
const REPLAYED: &str = "#/components/headers/IdempotentReplayed";
const IDEMPOTENCY_KEY: &str = "#/components/parameters/IdempotencyKey";
const IF_MATCH: &str = "#/components/parameters/IfMatch";
const IF_NONE_MATCH: &str = "#/components/parameters/IfNoneMatch";

fn schema_ref<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

fn response(description: &str, mut bodies: Vec<RefOr<Schema>>) -> Response {
    let schema = if bodies.len() == 1 {
        bodies.remove(0)
    } else {
        let any_of = bodies.into_iter().fold(AnyOfBuilder::new(), AnyOfBuilder::item);
        Schema::from(any_of).into()
    };
    ResponseBuilder::new()
        .description(description)
        .content("application/json", Content::new(Some(schema)))
        .build()
}

/// Adds what all endpoints share: unique operation ids, and the responses of the middleware.
pub(super) fn complete(paths: &mut Paths, schemas: &mut Vec<(String, RefOr<Schema>)>, area: Area) {
    for (method, operation) in operations(paths) {
        match method {
            Method::GET => add_etag(operation),
            Method::POST => add_idempotency(operation),
            _ => add_if_match(operation),
        }
        if method == Method::PATCH {
            add_partial_schema(operation, schemas);
        }
        complete_operation(operation);
        add_security(operation, area.scope(!method.is_safe()));
    }
}

/// All operations with their methods.
pub(super) fn operations(paths: &mut Paths) -> impl Iterator<Item = (Method, &mut Operation)> {
    let operations = paths.paths.values_mut().flat_map(|item| {
        [
            (Method::GET, &mut item.get),
            (Method::POST, &mut item.post),
            (Method::PUT, &mut item.put),
            (Method::PATCH, &mut item.patch),
            (Method::DELETE, &mut item.delete),
        ]
    });
    operations.filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Adds the API key, which is optional because a setting may open the API, and its scope.
fn add_security(operation: &mut Operation, scope: Scope) {
    let none: [&str; 0] = [];
    operation.security = Some(vec![
        SecurityRequirement::default(),
        SecurityRequirement::new(BEARER, none),
        SecurityRequirement::new(HEADER, none),
    ]);
    let needs = format!("API keys need the scope `{scope}`.");
    operation.description = Some(match operation.description.take() {
        Some(said) if !said.trim().is_empty() => format!("{said}\n\n{needs}"),
        _ => needs,
    });
    let responses = &mut operation.responses.responses;
    add_refusal::<Unauthorized>(responses, "401");
    add_refusal::<Forbidden>(responses, "403");
    add_either::<TooManyFailures>(responses, "429");
}

/// The ways to send a key.
const BEARER: &str = "bearer";
const HEADER: &str = "header";

fn security_schemes(components: ComponentsBuilder) -> ComponentsBuilder {
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let header = ApiKeyValue::new(auth::API_KEY.as_str());
    components
        .security_scheme(BEARER, SecurityScheme::Http(bearer))
        .security_scheme(HEADER, SecurityScheme::ApiKey(ApiKey::Header(header)))
}

fn complete_operation(operation: &mut Operation) {
    let tag = operation
        .tags
        .iter()
        .flatten()
        .next()
        .map(|tag| tag.to_ascii_lowercase());
    if let (Some(tag), Some(id)) = (tag, &operation.operation_id) {
        operation.operation_id = Some(format!("{tag}_{id}"));
    }
    let responses = &mut operation.responses.responses;
    for (status, response) in responses.iter_mut() {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            let description = match status.as_str() {
                "201" => "Created.",
                "204" => "Deleted.",
                _ => "Success.",
            };
            description.clone_into(&mut response.description);
        }
    }
    add_refusal::<NotAcceptable>(responses, "406");
    if operation.request_body.is_some() {
        add_refusal::<TooLarge>(responses, "413");
        add_refusal::<UnsupportedMediaType>(responses, "415");
    }
}

/// Adds `ETag` and 304 to a GET.
fn add_etag(get: &mut Operation) {
    let parameters = get.parameters.get_or_insert_default();
    parameters.push(RefOr::Ref(Ref::new(IF_NONE_MATCH)));
    let responses = &mut get.responses.responses;
    add_etag_header(responses);
    responses.insert("304".to_owned(), Ref::from_response_name("NotModified").into());
}

/// Adds `If-Match` and 412 to a write of one record.
fn add_if_match(write: &mut Operation) {
    let parameters = write.parameters.get_or_insert_default();
    parameters.push(RefOr::Ref(Ref::new(IF_MATCH)));
    let responses = &mut write.responses.responses;
    add_etag_header(responses);
    add_refusal::<PreconditionFailed>(responses, "412");
}

fn add_etag_header(responses: &mut BTreeMap<String, RefOr<Response>>) {
    if let Some(RefOr::T(found)) = responses.get_mut("200") {
        found
            .headers
            .insert("ETag".to_owned(), RefOr::Ref(Ref::new(ETAG)));
    }
}

/// Adds `Idempotency-Key` to a POST.
fn add_idempotency(post: &mut Operation) {
    let parameters = post.parameters.get_or_insert_default();
    parameters.push(RefOr::Ref(Ref::new(IDEMPOTENCY_KEY)));
    let responses = &mut post.responses.responses;
    for (status, response) in responses.iter_mut() {
        if let RefOr::T(response) = response
            && status.starts_with('2')
        {
            let replayed = RefOr::Ref(Ref::new(REPLAYED));
            response
                .headers
                .insert("Idempotent-Replayed".to_owned(), replayed);
        }
    }
    add_either::<KeyInUse>(responses, "409");
    add_refusal::<KeyMismatch>(responses, "422");
}

/// Adds a refusal of the middleware. If the handler answers with this status, too, the body may be either.
fn add_either<'r, T: ToResponse<'r>>(responses: &mut BTreeMap<String, RefOr<Response>>, status: &str) {
    let Some(RefOr::T(response)) = responses.get_mut(status) else {
        return add_refusal::<T>(responses, status);
    };
    for content in response.content.values_mut() {
        let RefOr::T(content) = content else { continue };
        let either = content.schema.take().into_iter().chain([schema_ref::<Detail>()]);
        let either = either.fold(AnyOfBuilder::new(), AnyOfBuilder::item);
        content.schema = Some(Schema::from(either).into());
    }
}

fn add_refusal<'r, T: ToResponse<'r>>(responses: &mut BTreeMap<String, RefOr<Response>>, status: &str) {
    let (name, _) = T::response();
    responses.insert(status.to_owned(), Ref::from_response_name(name).into());
}

/// Gives a PATCH a schema of its own: that of the PUT without required fields and defaults.
fn add_partial_schema(patch: &mut Operation, schemas: &mut Vec<(String, RefOr<Schema>)>) {
    let Some(RefOr::T(body)) = &mut patch.request_body else {
        return;
    };
    for content in body.content.values_mut() {
        let RefOr::T(content) = content else { continue };
        let Some(RefOr::Ref(sent)) = &content.schema else {
            continue;
        };
        let Some((name, RefOr::T(Schema::Object(complete)))) = schemas
            .iter()
            .find(|(name, _)| sent.ref_location == Ref::from_schema_name(name).ref_location)
        else {
            continue;
        };
        let (name, mut partial) = (format!("Partial{name}"), complete.clone());
        partial.required.clear();
        for property in partial.properties.values_mut() {
            if let RefOr::T(Schema::Object(property)) = property {
                property.default = None;
            }
        }
        content.schema = Some(Ref::from_schema_name(&name).into());
        schemas.push((name, Schema::Object(partial).into()));
    }
}

impl PartialSchema for FieldErrors {
    fn schema() -> RefOr<Schema> {
        let messages = || ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::String));
        let element = AnyOfBuilder::new().item(schema_ref::<Self>()).item(messages());
        let errors = AnyOfBuilder::new()
            .item(messages())
            .item(schema_ref::<Self>())
            .item(ArrayBuilder::new().items(element));
        ObjectBuilder::new()
            .additional_properties(Some(Schema::from(errors)))
            .description(Some(
                "Messages by field, or `non_field_errors` for the whole body. For a list, errors of each element.",
            ))
            .examples([serde_json::json!({ "name": ["This field is required."] })])
            .into()
    }
}

impl ToSchema for FieldErrors {
    fn name() -> std::borrow::Cow<'static, str> {
        "FieldErrors".into()
    }
}
