//! Strategies for requests: valid ones, and ones with errors in every place.

use proptest::{
    collection::vec,
    option,
    prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof},
    sample::{Index, select},
};
use reqwest::Method;

/// A request that writes.
#[derive(Clone, Debug)]
pub struct Write {
    pub method: Method,
    pub path: String,
    pub content_type: String,
    pub key: Option<Vec<u8>>,
    pub body: Vec<u8>,
}

/// The lists, with the fields of their records: names and valid values.
const RESOURCES: [(&str, &[(&str, &str)]); 5] = [
    ("/api/categories/", &[("name", "\"Beds\"")]),
    (
        "/api/products/",
        &[
            ("title", "\"Bed\""),
            ("description", "\"Soft\""),
            ("price", "\"9.90\""),
            ("category_id", "1"),
            ("is_active", "true"),
        ],
    ),
    (
        "/api/stores/",
        &[
            ("name", "\"Side\""),
            ("location", "\"There\""),
            ("is_active", "false"),
        ],
    ),
    (
        "/api/inventory/",
        &[
            ("store_id", "1"),
            ("product_id", "2"),
            ("quantity", "5"),
            ("low_stock_threshold", "1"),
        ],
    ),
    (
        "/api/orders/",
        &[
            ("store_id", "1"),
            ("items", "[{\"product_id\":1,\"quantity\":1}]"),
        ],
    ),
];

/// JSON that is hard to parse, and invalid JSON.
const STUMBLING: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1",
    "1.0",
    "1.5",
    "1e3",
    "1e400",
    "-1e400",
    "1e-400",
    "0.1e-7",
    "2147483647",
    "2147483648",
    "-2147483649",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "99999999.99",
    "100000000",
    "0.005",
    "NaN",
    "Infinity",
    "01",
    "+1",
    "1_000",
    ".5",
    "\"\"",
    "\" \"",
    "\"5\"",
    "\" 5 \"",
    "\"+5\"",
    "\"5.0\"",
    "\"1e2\"",
    "\"NaN\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"\u{202e}x\"",
    "\"\u{a0}\"",
    "\"\u{0661}\"",
    "[]",
    "{}",
    "[[]]",
    "[null]",
    "[{}]",
    "[{\"product_id\":1,\"quantity\":0}]",
    "[{\"product_id\":1,\"quantity\":1},{\"product_id\":\"1\",\"quantity\":1}]",
    "[{\"product_id\":99999999999999999999,\"quantity\":99999999999999999999}]",
    "{\"a\":{\"a\":{}}}",
    "\"yes\"",
    "\"off\"",
    "'a'",
    "undefined",
    "",
];

/// Any JSON with little nesting.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => select(STUMBLING).prop_map(str::to_owned),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_map(|number| number.to_string()),
        1 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        1 => (1..2000_usize).prop_map(|count| "9".repeat(count)),
        1 => (1..2000_usize).prop_map(|count| format!("\"{}\"", "7".repeat(count))),
        1 => (1..400_usize).prop_map(|count| format!("\"{}\"", "\u{e4}".repeat(count))),
        1 => (1..1200_usize).prop_map(|depth| "[".repeat(depth) + &"]".repeat(depth)),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            vec((name(), inner), 0..4).prop_map(|members| object(&members)),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    let known = select(
        &[
            "product_id",
            "quantity",
            "store_id",
            "items",
            "name",
            "id",
            "price",
        ][..],
    );
    prop_oneof![known.prop_map(str::to_owned), any::<String>()]
}

fn object(members: &[(String, String)]) -> String {
    let members = members
        .iter()
        .map(|(name, value)| format!("{}:{value}", serde_json::to_string(name).unwrap()));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// An object of a resource: each field is valid, absent or anything, and unknown fields are present.
fn record(members: &'static [(&'static str, &'static str)]) -> impl Strategy<Value = String> {
    let member = |(name, right): &(&'static str, &'static str)| {
        let value = prop_oneof![
            4 => Just(Some((*right).to_owned())),
            3 => json().prop_map(Some),
            1 => Just(None),
        ];
        let name = (*name).to_owned();
        value.prop_map(move |value| value.map(|value| (name.clone(), value)))
    };
    let own: Vec<_> = members.iter().map(member).collect();
    (own, vec((name(), json()), 0..2)).prop_map(|(own, others)| {
        let members: Vec<_> = own.into_iter().flatten().chain(others).collect();
        object(&members)
    })
}

/// The bytes of a body: an intact or damaged record, any JSON, or any bytes.
fn body(members: &'static [(&'static str, &'static str)]) -> impl Strategy<Value = Vec<u8>> {
    let damage = |bytes: (String, Vec<(Index, u8, u8)>)| {
        let (text, damages) = bytes;
        let mut bytes = text.into_bytes();
        for (place, byte, way) in damages {
            if bytes.is_empty() {
                break;
            }
            let place = place.index(bytes.len());
            match way % 4 {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                2 => drop(bytes.remove(place)),
                _ => bytes.truncate(place),
            }
        }
        bytes
    };
    prop_oneof![
        6 => record(members).prop_map(String::into_bytes),
        3 => (record(members), vec(any::<(Index, u8, u8)>(), 1..4)).prop_map(damage),
        1 => json().prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..200),
    ]
}

/// The id of a record in a path.
fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(&["1", "2", "007", "0", "99", "9223372036854775808", "-1", "x", "%00", "1.0", "%ff", "\u{0661}"][..])
            .prop_map(str::to_owned),
        1 => any::<u64>().prop_map(|number| number.to_string()),
    ]
}

/// A POST, PUT or PATCH.
pub fn write() -> BoxedStrategy<Write> {
    let content_type = prop_oneof![
        9 => Just("application/json"),
        1 => select(&["application/json; charset=utf-8", "text/plain", "", "application/json;;", "multipart/form-data"][..]),
    ];
    let key = prop_oneof![
        3 => "[a-f]{1,2}".prop_map(String::into_bytes),
        1 => vec(0x20..0x7f_u8, 0..300),
        1 => vec(0x80_u8.., 1..20),
    ];
    select(&RESOURCES[..])
        .prop_flat_map(move |(list, members)| {
            let target = prop_oneof![
                2 => Just((Method::POST, list.to_owned())),
                1 => id().prop_map(move |id| (Method::PUT, format!("{list}{id}/"))),
                1 => id().prop_map(move |id| (Method::PATCH, format!("{list}{id}/"))),
            ];
            (
                target,
                content_type.clone(),
                option::weighted(0.2, key.clone()),
                body(members),
            )
                .prop_map(|((method, path), content_type, key, body)| Write {
                    method,
                    path,
                    content_type: content_type.to_owned(),
                    key,
                    body,
                })
        })
        .boxed()
}

/// A path of a GET request, and a query string.
pub fn query() -> BoxedStrategy<(String, String)> {
    let paths = [
        "/api/categories/",
        "/api/products/",
        "/api/products/search/",
        "/api/products/autocomplete/",
        "/api/stores/",
        "/api/inventory/",
        "/api/orders/",
        "/api/orders/stats/",
        "/api/products/1/",
        "/health/",
    ];
    let names = [
        "page",
        "cursor",
        "q",
        "min_price",
        "max_price",
        "store_id",
        "product_id",
        "category_id",
        "status",
        "low_stock",
        "page_size",
        "format",
        "%00",
        "",
    ];
    let values = [
        "",
        "1",
        "2",
        "last",
        "0",
        "-1",
        "+2",
        "%202",
        "1e1",
        "1.5",
        "abc",
        "NaN",
        "inf",
        "1e400",
        "1e-400",
        "0x10",
        "%00",
        "%ff",
        "%F0%9F%98%80",
        "%25",
        "_",
        "%5C",
        "true",
        "TRUE",
        "confirmed",
        "PENDING%20",
        "9223372036854775807",
        "9223372036854775808",
        "99999999999999999999999",
        "%D9%A1",
        "lam",
        "a'b",
        "%22",
        "%C4%B0",
        "AAAA",
        "eyJ9",
    ];
    let value = prop_oneof![
        4 => select(values.to_vec()).prop_map(str::to_owned),
        1 => any::<String>().prop_map(|text| form_urlencoded::byte_serialize(text.as_bytes()).collect()),
        1 => vec(any::<u8>(), 0..40).prop_map(|bytes| form_urlencoded::byte_serialize(&bytes).collect()),
        1 => (1..3000_usize).prop_map(|count| "9".repeat(count)),
    ];
    let pairs = vec((select(names.to_vec()), value), 0..4);
    (select(paths.to_vec()), pairs)
        .prop_map(|(path, pairs)| {
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            (path.to_owned(), pairs.join("&"))
        })
        .boxed()
}

/// Bytes that are hardly HTTP.
pub fn raw_request() -> BoxedStrategy<Vec<u8>> {
    let line = select(
        &[
            "GET /health/ HTTP/1.1",
            "GET /api/products/?page=\u{e4} HTTP/1.1",
            "POST /api/orders/ HTTP/1.1",
            "POST /api/orders/ HTTP/1.0",
            "OPTIONS * HTTP/1.1",
            "GET http://localhost/api/stores/ HTTP/1.1",
            "CONNECT localhost:80 HTTP/1.1",
            "GET //api//stores/ HTTP/1.1",
            "GET /../%2e%2e/ HTTP/1.1",
            "TRACE / HTTP/1.1",
            "BREW /api/orders/ HTTP/1.1",
            "GET / HTTP/2.0",
            "GET",
        ][..],
    );
    let header = prop_oneof![
        6 => select(
            &[
                "Host: localhost", "Content-Type: application/json", "Content-Length: 2", "Content-Length: -1",
                "Content-Length: 99999999999999999999", "Transfer-Encoding: chunked", "Expect: 100-continue",
                "Connection: upgrade", "Upgrade: h2c", "If-None-Match: \"", "If-None-Match: *", "Accept-Encoding: gzip;q=x",
                "Accept: application/json;q=nan", "Idempotency-Key: \"", "Origin: null", "Range: bytes=0-",
                "X-Request-Id: \u{1}", "X-Forwarded-For: ,,,", "Host: \u{e4}",
            ][..],
        )
        .prop_map(|header| header.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..60),
    ];
    let end = prop_oneof![
        select(
            &[
                "{}",
                "5\r\n{}",
                "ffffffffffffffffff\r\n",
                "2\r\n{}\r\n0\r\n\r\n",
                ""
            ][..]
        )
        .prop_map(|end| end.as_bytes().to_vec()),
        vec(any::<u8>(), 0..60),
    ];
    (line, vec(header, 0..6), end)
        .prop_map(|(line, headers, end)| {
            let mut bytes = line.as_bytes().to_vec();
            for header in headers {
                bytes.extend_from_slice(b"\r\n");
                bytes.extend_from_slice(&header);
            }
            bytes.extend_from_slice(b"\r\n\r\n");
            bytes.extend_from_slice(&end);
            bytes
        })
        .boxed()
}
