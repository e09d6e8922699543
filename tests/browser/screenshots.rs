//! Pictures of all pages, for people to look at: `make screenshots`.

use std::{fs, path::Path};

use afforo::auth::Role;

use crate::{
    kit::{Browser, PHONE, Scheme, Shop, WIDE},
    pages::{UNREADABLE, kind_of, tour},
    support::{
        accounts::account,
        program::{afforo, run},
    },
};

#[tokio::test]
#[ignore = "somebody has to look at them"]
async fn screenshots() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let shop = Shop::open().await;
    let mut seed = afforo(&["seed", "--orders", "4000", "--random-seed", "1"]);
    let seeded = run(seed.env("DATABASE_URL", &shop.app.database_url)).await;
    assert_eq!(seeded.code, Some(0), "{}", seeded.err);
    let browser = Browser::open(shop.app.address).await;
    browser.goto("/admin/login/").await;
    take(&browser, &folder, "login").await;
    account(&shop.app, "chief", Role::Superuser, None).await;
    shop.log_in(&browser, "chief").await;
    tour(&browser, async |path| {
        let name = kind_of(path).replace("{}", "one").replace('/', " ");
        let name = name.trim().trim_start_matches("admin").trim().replace(' ', "-");
        take(
            &browser,
            &folder,
            if name.is_empty() { "overview" } else { &name },
        )
        .await;
    })
    .await;
    for (name, path) in UNREADABLE {
        browser.goto(path).await;
        take(&browser, &folder, name).await;
    }
    browser.goto("/admin/products/").await;
    let select =
        "[...document.querySelectorAll('td.pick input[name]')].slice(1, 4).forEach(box => box.click())";
    browser.evaluate(select).await.unwrap();
    for width in [PHONE, WIDE] {
        browser.width(width).await;
        browser
            .picture(&folder.join(format!("products-selected-{width}.png")), false)
            .await;
    }
    browser.goto("/admin/orders/1/").await;
    browser.prints().await;
    browser
        .picture(&folder.join("orders-one-printed.png"), true)
        .await;
    take_for_the_readme(&shop, &browser, &folder).await;
    browser.close().await;
}

async fn take(browser: &Browser, folder: &Path, name: &str) {
    for width in [PHONE, WIDE] {
        browser.width(width).await;
        for scheme in [Scheme::Light, Scheme::Dark] {
            browser.prefers(scheme).await;
            let file = format!("{name}-{width}-{}.png", scheme.name());
            browser.picture(&folder.join(file), true).await;
        }
    }
}

/// Those that docs/images has, where they are copied to by hand: as much as fits a window.
async fn take_for_the_readme(shop: &Shop, browser: &Browser, folder: &Path) {
    let busiest = "select inventory_id from stock_movement group by 1 order by count(*) desc, 1 limit 1";
    let busiest: i64 = sqlx::query_scalar(busiest).fetch_one(&shop.pool).await.unwrap();
    for (name, path, width, scheme) in [
        ("overview", "/admin/", WIDE, Scheme::Light),
        ("stock", &format!("/admin/stock/{busiest}/"), WIDE, Scheme::Dark),
        ("orders-telephone", "/admin/orders/", PHONE, Scheme::Light),
        ("overview-telephone", "/admin/", PHONE, Scheme::Dark),
    ] {
        browser.width(width).await;
        browser.prefers(scheme).await;
        browser.goto(path).await;
        let file = folder.join(format!("readme-{name}.png"));
        browser.picture(&file, false).await;
    }
}
