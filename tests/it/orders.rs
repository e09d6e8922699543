//! `/api/orders/`

use serde_json::json;

use crate::support::app::TestApp;

#[tokio::test]
async fn an_order_with_enough_stock_is_confirmed() {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "10.00").await);
    let stock = app.stock(store, product, 5).await;
    let placed = app.order(store, &[(product, 2)]).await;
    assert_eq!(placed.status, 201);
    assert_eq!(placed.body["total_amount"], json!("20.00"));
    assert_eq!(app.quantity(stock).await, 3);
    assert!(app.unbalanced().await.is_empty());
}
