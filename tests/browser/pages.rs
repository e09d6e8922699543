//! All pages, one of each kind: as wide as a telephone and as a desk, in light and dark, as assistive technology sees them.

use std::collections::{BTreeSet, VecDeque};

use serde_json::Value;

use crate::kit::{Browser, PHONE, Shop, WIDE};

/// What every page must lead to, so that a tour that ends early is noticed.
const SECTIONS: [&str; 12] = [
    "/admin/",
    "/admin/access/",
    "/admin/account/",
    "/admin/audit/",
    "/admin/categories/",
    "/admin/jobs/",
    "/admin/orders/",
    "/admin/products/",
    "/admin/stock/",
    "/admin/stores/",
    "/admin/system/",
    "/admin/transfers/",
];

#[tokio::test]
async fn every_page_fits_a_phone_and_is_accessible() {
    let shop = Shop::open().await;
    shop.stock_up().await;
    let browser = shop.enter().await;
    let toured = tour(&browser, async |path| {
        assert_eq!(browser.count("h1").await, 1, "{path} has one heading of its own");
        browser.is_sound().await;
    })
    .await;
    for section in SECTIONS {
        assert!(toured.contains(section), "{section} is not among {toured:#?}");
    }
    browser.close().await;
}

#[tokio::test]
async fn every_page_of_an_empty_database_says_what_to_do() {
    let shop = Shop::open().await;
    let browser = shop.enter().await;
    tour(&browser, async |path| {
        let text = browser.text_of("main").await.unwrap_or_default();
        // Each list that is empty says what there would be, and what to do about it.
        let empty = [
            ("/admin/orders/", "No orders yet"),
            ("/admin/stock/", "No store has stock yet"),
            ("/admin/products/", "There are no products yet"),
            ("/admin/categories/", "There are no categories yet"),
            ("/admin/stores/", "There are no stores yet"),
            ("/admin/transfers/", "No transfers yet"),
        ];
        assert_ne!(text, "", "{path}");
        for (_, says) in empty.iter().filter(|(list, _)| *list == path) {
            assert!(text.contains(says), "{path}: {text}");
        }
        browser.width(PHONE).await;
        browser.fits(PHONE).await;
        browser.width(WIDE).await;
    })
    .await;
    browser.close().await;
}

/// Lists with filters that cannot be read.
pub const UNREADABLE: [(&str, &str); 4] = [
    (
        "products-unreadable",
        "/admin/products/?max_price=1,000,00&min_price=5&state=gone",
    ),
    ("orders-unreadable", "/admin/orders/?from=2026-13-01&store=Main"),
    ("stock-unreadable", "/admin/stock/?category=x&page=abc"),
    ("audit-unreadable", "/admin/audit/?to=yesterday"),
];

#[tokio::test]
async fn invalid_filter_is_reported_accessibly() {
    let shop = Shop::open().await;
    shop.stock_up().await;
    let browser = shop.enter().await;
    for (_, path) in UNREADABLE {
        browser.goto(path).await;
        browser.is_sound().await;
        assert_eq!(browser.count(".alarm:not([hidden])").await, 1, "{path}");
        assert_ne!(browser.count("[aria-invalid]").await, 0, "{path}");
        assert_eq!(browser.count("tbody tr").await, 0, "{path}");
    }
    browser.close().await;
}

/// Follows links from the overview on, looks at one page of each kind, and says which kinds there were.
pub async fn tour(browser: &Browser, mut look: impl AsyncFnMut(&str)) -> BTreeSet<String> {
    let mut seen = BTreeSet::from(["/admin/".to_owned()]);
    let mut ahead = VecDeque::from(["/admin/".to_owned()]);
    while let Some(path) = ahead.pop_front() {
        browser.goto(&path).await;
        for link in links(browser).await {
            if seen.insert(kind_of(&link)) {
                ahead.push_back(link);
            }
        }
        look(&path).await;
    }
    seen
}

/// The links of a page to others of the console. What is saved and not shown is none of them.
async fn links(browser: &Browser) -> Vec<String> {
    let script = "[...document.querySelectorAll('a[href]:not([download])')]
        .filter(a => a.origin === location.origin && /^\\/admin\\/(?!.*\\/(json|export)\\/)/.test(a.pathname))
        .map(a => a.pathname + a.search)";
    let links = browser.evaluate(script).await.unwrap();
    links
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// A page by what it is about, whichever it is: `/admin/orders/{}/`.
pub fn kind_of(link: &str) -> String {
    let path = link.split('?').next().unwrap_or_default();
    let segments = path.split('/').map(|segment| {
        let is_id = segment.contains(|c: char| c.is_ascii_digit() || c == ':' || c == '%');
        if is_id { "{}" } else { segment }
    });
    segments.collect::<Vec<_>>().join("/")
}
