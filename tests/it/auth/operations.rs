//! Every operation of the API, with its scope and the kind of its data.

use afforo::auth::Scope;

/// The kind of data that an operation uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Data of no store: a key that is bound to stores may read it, but not write it.
    Everyone,
    /// A list: a bound key sees the rows of its stores.
    List,
    /// An object of a store: a key of another store gets 404.
    Object,
    /// A new object in a store: for a key of another store this store does not exist.
    Creation,
    /// A new store: a bound key may not create one.
    Store,
    /// A document about stock rows: those of another store do not exist.
    Document,
    /// An action on an object of a store.
    Action,
}
use About::{Action, Creation, Document, Everyone, List, Object, Store};

/// Method, path, required scope, and kind of data.
pub const OPERATIONS: &[(&str, &str, Scope, About)] = &[
    ("GET", "/api/categories/", Scope::CatalogRead, Everyone),
    ("POST", "/api/categories/", Scope::CatalogWrite, Everyone),
    ("GET", "/api/categories/{id}/", Scope::CatalogRead, Everyone),
    ("PUT", "/api/categories/{id}/", Scope::CatalogWrite, Everyone),
    ("PATCH", "/api/categories/{id}/", Scope::CatalogWrite, Everyone),
    ("DELETE", "/api/categories/{id}/", Scope::CatalogWrite, Everyone),
    ("GET", "/api/products/", Scope::CatalogRead, Everyone),
    ("POST", "/api/products/", Scope::CatalogWrite, Everyone),
    ("GET", "/api/products/search/", Scope::CatalogRead, Everyone),
    ("GET", "/api/products/autocomplete/", Scope::CatalogRead, Everyone),
    ("GET", "/api/products/lookup/", Scope::CatalogRead, Everyone),
    ("POST", "/api/products/bulk/", Scope::CatalogWrite, Everyone),
    (
        "PUT",
        "/api/products/by-sku/{sku}/",
        Scope::CatalogWrite,
        Everyone,
    ),
    ("GET", "/api/products/{id}/", Scope::CatalogRead, Everyone),
    ("PUT", "/api/products/{id}/", Scope::CatalogWrite, Everyone),
    ("PATCH", "/api/products/{id}/", Scope::CatalogWrite, Everyone),
    ("DELETE", "/api/products/{id}/", Scope::CatalogWrite, Everyone),
    ("GET", "/api/stores/", Scope::CatalogRead, List),
    ("POST", "/api/stores/", Scope::CatalogWrite, Store),
    ("GET", "/api/stores/{id}/", Scope::CatalogRead, Object),
    ("PUT", "/api/stores/{id}/", Scope::CatalogWrite, Object),
    ("PATCH", "/api/stores/{id}/", Scope::CatalogWrite, Object),
    ("GET", "/api/inventory/", Scope::InventoryRead, List),
    ("POST", "/api/inventory/", Scope::InventoryWrite, Creation),
    ("GET", "/api/inventory/{id}/", Scope::InventoryRead, Object),
    ("PUT", "/api/inventory/{id}/", Scope::InventoryWrite, Object),
    ("PATCH", "/api/inventory/{id}/", Scope::InventoryWrite, Object),
    (
        "GET",
        "/api/inventory/{id}/movements/",
        Scope::InventoryRead,
        Object,
    ),
    (
        "GET",
        "/api/inventory/{id}/explain/",
        Scope::InventoryRead,
        Object,
    ),
    ("GET", "/api/inventory/as-of/", Scope::InventoryRead, List),
    ("GET", "/api/inventory/movements/", Scope::InventoryRead, List),
    ("GET", "/api/orders/", Scope::OrdersRead, List),
    ("GET", "/api/orders/{id}/", Scope::OrdersRead, Object),
    ("GET", "/api/orders/{id}/timeline/", Scope::OrdersRead, Object),
    ("GET", "/api/orders/stats/", Scope::Stats, List),
];

/// Operations that delete or add rows with every call. They run last, so that the others find the expected rows.
pub const LAST: &[(&str, &str, Scope, About)] = &[
    (
        "POST",
        "/api/inventory/{id}/movements/",
        Scope::InventoryWrite,
        Object,
    ),
    (
        "POST",
        "/api/inventory/adjustments/",
        Scope::InventoryWrite,
        Document,
    ),
    (
        "POST",
        "/api/inventory/reversals/",
        Scope::InventoryWrite,
        Creation,
    ),
    ("POST", "/api/orders/", Scope::OrdersWrite, Creation),
    ("PATCH", "/api/orders/{id}/", Scope::OrdersManage, Object),
    ("POST", "/api/orders/{id}/redact/", Scope::Admin, Action),
    (
        "POST",
        "/api/orders/{id}/cancellations/",
        Scope::OrdersManage,
        Object,
    ),
    (
        "POST",
        "/api/orders/{id}/fulfillments/",
        Scope::OrdersManage,
        Object,
    ),
    ("POST", "/api/orders/{id}/returns/", Scope::OrdersManage, Object),
    ("GET", "/api/reservations/", Scope::OrdersRead, List),
    ("GET", "/api/reservations/{id}/", Scope::OrdersRead, Object),
    ("POST", "/api/reservations/", Scope::OrdersWrite, Creation),
    (
        "POST",
        "/api/reservations/{id}/extend/",
        Scope::OrdersWrite,
        Action,
    ),
    (
        "POST",
        "/api/reservations/{id}/release/",
        Scope::OrdersWrite,
        Action,
    ),
    ("GET", "/api/transfers/", Scope::InventoryRead, List),
    ("POST", "/api/transfers/", Scope::InventoryWrite, Creation),
    ("GET", "/api/transfers/{id}/", Scope::InventoryRead, Object),
    ("PATCH", "/api/transfers/{id}/", Scope::InventoryWrite, Object),
    ("POST", "/api/transfers/{id}/ship/", Scope::InventoryWrite, Action),
    (
        "POST",
        "/api/transfers/{id}/receive/",
        Scope::InventoryWrite,
        Action,
    ),
    (
        "POST",
        "/api/transfers/{id}/cancel/",
        Scope::InventoryWrite,
        Action,
    ),
    ("GET", "/api/stock-counts/", Scope::InventoryRead, List),
    ("POST", "/api/stock-counts/", Scope::InventoryWrite, Creation),
    ("GET", "/api/stock-counts/{id}/", Scope::InventoryRead, Object),
    (
        "GET",
        "/api/stock-counts/{id}/lines/",
        Scope::InventoryRead,
        Object,
    ),
    (
        "GET",
        "/api/stock-counts/{id}/entries/",
        Scope::InventoryRead,
        Object,
    ),
    (
        "POST",
        "/api/stock-counts/{id}/lines/",
        Scope::InventoryWrite,
        Action,
    ),
    (
        "POST",
        "/api/stock-counts/{id}/apply/",
        Scope::InventoryWrite,
        Action,
    ),
    (
        "POST",
        "/api/stock-counts/{id}/cancel/",
        Scope::InventoryWrite,
        Action,
    ),
    ("DELETE", "/api/inventory/{id}/", Scope::InventoryWrite, Object),
    ("DELETE", "/api/stores/{id}/", Scope::CatalogWrite, Object),
];
